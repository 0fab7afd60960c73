//! What strangers can use up.

use std::net::SocketAddr;
use std::time::Instant;

use souk_authority::enrolment::limits::{HANDSHAKE_TIMEOUT, HANDSHAKES_OF_ADDRESS, STRANGERS_OF_ADDRESS};
use souk_certs::identity::Role;
use souk_enrolment::key::PartyKey;
use souk_proto::v1::{self, enrolment_service_client::EnrolmentServiceClient};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};

use super::world::{DEADLINE, Member, World, request};

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
            let joined =
                souk_enrolment::join::join(&code, Role::Seller, &key, souk_certs::clock::now()).await;
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
    assert_eq!(super::world::reason(&refused), Some(souk_proto::Reason::MethodUnknown));
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
