//! What strangers can use up.

use std::fs::File;
use std::net::SocketAddr;
use std::time::Instant;

use souk_authority::enrolment::limits::{
    CALLS_OF_ADDRESS, CALLS_OF_CONNECTION, CONNECTIONS_OF_CERTIFICATE, HANDSHAKE_TIMEOUT,
    HANDSHAKES_OF_ADDRESS, STRANGERS_OF_ADDRESS,
};
use souk_certs::client::client_config;
use souk_certs::clock;
use souk_certs::connector::{ConnectOptions, connect_once};
use souk_certs::identity::{Identity, Role};
use souk_enrolment::key::PartyKey;
use souk_proto::Reason;
use souk_proto::v1::trust_service_client::TrustServiceClient;
use souk_proto::v1::{self, enrolment_service_client::EnrolmentServiceClient};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot::error::TryRecvError;

use super::world::{DEADLINE, Member, World, reason, request};

/// Connects from one of this machine's other addresses.
async fn from(source: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(source.parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test]
async fn silent_sockets_end_and_hold_up_nobody_else() {
    let world = World::new().await;
    let mut silent = Vec::new();
    for _ in 0..2 * HANDSHAKES_OF_ADDRESS {
        silent.push(from("127.0.0.2:0", world.address).await);
    }
    let begun = Instant::now();
    world.serves_others().await;
    assert!(begun.elapsed() < HANDSHAKE_TIMEOUT, "others had to wait: {:?}", begun.elapsed());
    // All of them are closed, those that had to wait for their turn too.
    for mut socket in silent {
        let closed = tokio::time::timeout(3 * HANDSHAKE_TIMEOUT, socket.read(&mut [0; 1])).await;
        assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
    }
    assert_eq!(world.signed(), 1);
}

#[tokio::test]
async fn idle_connections_of_a_stranger_are_bounded() {
    let world = World::new().await;
    let code = world.invite(Role::Seller, "alice");
    let mut open = Vec::new();
    for _ in 0..STRANGERS_OF_ADDRESS {
        open.push(world.anonymous(&code).await);
    }
    // One more is closed after its handshake; those that have a certificate are not counted.
    let key = PartyKey::generate().unwrap();
    let wait = async {
        loop {
            let joined = souk_enrolment::join::join(&code, Role::Seller, &key, clock::now()).await;
            if joined.is_ok() {
                break;
            }
            open.pop();
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap();
    assert!(open.len() < STRANGERS_OF_ADDRESS, "there was no bound");
    drop(open);
    world.serves_others().await;
}

#[tokio::test]
async fn calls_that_no_service_has_are_answered_with_a_reason() {
    let world = World::new().await;
    let code = world.invite(Role::Seller, "alice");
    let channel = world.anonymous(&code).await;
    let mut session = v1::session_service_client::SessionServiceClient::new(channel.clone());
    let refused = session.who_am_i(v1::WhoAmIRequest::default()).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::MethodUnknown));
    // On the same connection, the right call.
    let key = PartyKey::generate().unwrap();
    let mut client = EnrolmentServiceClient::new(channel);
    client.join(request(&code, v1::Role::Seller, &key)).await.unwrap();
    assert_eq!(world.signed(), 1);
}

#[tokio::test]
async fn stopping_service_answers_what_is_under_way() {
    let mut world = World::new().await;
    let market = Member::join(&world.invite(Role::Market, "m1"), Role::Market).await.unwrap();
    let mut trust = world.trust(&market.credentials()).await;
    let mut stream =
        trust.watch_trust(v1::WatchTrustRequest { known_sequence: 0 }).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    // A market that follows does not keep it from stopping.
    let begun = Instant::now();
    world.stop().await;
    assert!(begun.elapsed() < DEADLINE);
    world.start().await;
    world.serves_others().await;
}

#[tokio::test]
async fn calls_of_one_address_are_bounded_and_bundles_need_no_turn() {
    let world = World::new().await;
    let code = world.invite(Role::Seller, "alice");
    // Joins wait for the folder.
    let folder = File::create(world.dir().join(".lock")).unwrap();
    folder.lock().unwrap();
    let connections = CALLS_OF_ADDRESS / CALLS_OF_CONNECTION as usize + 1;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let client = world.stranger(&code).await;
        for _ in 0..CALLS_OF_CONNECTION {
            let mut client = client.clone();
            let request = request(&code, v1::Role::Seller, &PartyKey::generate().unwrap());
            calls.spawn(async move { client.join(request).await });
        }
    }
    // Those beyond the share are refused at once, and bundles are handed out meanwhile.
    for _ in 0..CALLS_OF_CONNECTION {
        let refused = calls.join_next().await.unwrap().unwrap().unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::Overloaded));
    }
    let mut trust = TrustServiceClient::new(world.anonymous(&code).await);
    let answer = trust.get_trust(v1::GetTrustRequest { known_sequence: 0 }).await.unwrap().into_inner();
    assert_eq!(answer.bundles.len(), 1);
    folder.unlock().unwrap();
    let answers = calls.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "one key has won");
    assert_eq!(world.signed(), 1);
    world.serves_others().await;
}

#[tokio::test]
async fn connections_of_a_certificate_are_bounded_and_end_with_its_revocation() {
    let world = World::new().await;
    let alice = Member::join(&world.invite(Role::Seller, "alice"), Role::Seller).await.unwrap();
    let credentials = alice.credentials();
    let config = client_config(&credentials).unwrap();
    let (dial, domain) = (world.dial(), credentials.trust_domain());
    let connect =
        || connect_once(&dial, Identity::Authority, config.clone(), domain, ConnectOptions::default());
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS_OF_CERTIFICATE {
        open.push(connect().await.unwrap());
    }
    // One more is closed after its handshake, which the client may notice before or after it has a channel.
    if let Ok((_surplus, closed)) = connect().await {
        tokio::time::timeout(DEADLINE, closed).await.unwrap().unwrap_err();
    }
    assert!(open.iter_mut().all(|(_, closed)| closed.try_recv() == Err(TryRecvError::Empty)));
    let bob = Member::join(&world.invite(Role::Buyer, "bob"), Role::Buyer).await.unwrap();
    let mut others = world.trust(&bob.credentials()).await;
    world.pki().revoke("alice", clock::now()).unwrap();
    for (_channel, closed) in open {
        tokio::time::timeout(DEADLINE, closed).await.unwrap().unwrap_err();
    }
    others.get_trust(v1::GetTrustRequest { known_sequence: 0 }).await.unwrap();
}
