//! How fast a revocation reaches those that follow the authority.

use std::time::{Duration, Instant};

use souk_certs::clock;
use souk_certs::identity::Role;
use souk_enrolment::trust::{SignedBundle, Trusted, accept};
use souk_proto::{Reason, v1};
use tonic::Streaming;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::world::{DEADLINE, Member, World, reason};

async fn next(stream: &mut Streaming<v1::WatchTrustResponse>) -> SignedBundle {
    let next = tokio::time::timeout(DEADLINE, stream.message()).await.unwrap().unwrap().unwrap();
    next.bundle.unwrap().try_into().unwrap()
}

fn revokes(bundle: &SignedBundle, serial: &[u8]) -> bool {
    bundle.open().unwrap().roots.iter().any(|root| {
        let (_, list) = CertificateRevocationList::from_der(&root.list).unwrap();
        list.iter_revoked_certificates().any(|entry| entry.raw_serial().ends_with(serial))
    })
}

#[tokio::test]
async fn revoked_in_2_s() {
    let world = World::new().await;
    let market = Member::join(&world.invite(Role::Market, "m1"), Role::Market).await.unwrap();
    let alice = Member::join(&world.invite(Role::Seller, "alice"), Role::Seller).await.unwrap();
    let mut trust = world.trust(&market.credentials()).await;
    let request = v1::WatchTrustRequest { known_sequence: 0 };
    let mut stream = trust.watch_trust(request).await.unwrap().into_inner();
    let first = next(&mut stream).await;
    assert!(!revokes(&first, alice.joined.peer.serial()));
    world.pki().revoke("alice", clock::now()).unwrap();
    let begun = Instant::now();
    let pushed = next(&mut stream).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(revokes(&pushed, alice.joined.peer.serial()));
    // A market takes it.
    let contents = first.open().unwrap();
    let (roots, lists): (Vec<_>, Vec<_>) =
        contents.roots.iter().map(|root| (root.certificate.clone(), root.list.clone())).unzip();
    let trusted = Trusted::in_use(contents.trust_domain, &roots, &lists, Some(&first));
    accept(&trusted, &pushed, clock::now()).unwrap();
    assert_eq!(world.signed(), 2);
    world.logs(&["revoke", "alice"]).await;
    world.logs(&["publish", &format!("\"sequence\":{}", pushed.open().unwrap().sequence)]).await;
    world.serves_others().await;
}

#[tokio::test]
async fn market_that_is_revoked_gets_no_more_bundles() {
    let world = World::new().await;
    let [m1, m2] = [
        Member::join(&world.invite(Role::Market, "m1"), Role::Market).await.unwrap(),
        Member::join(&world.invite(Role::Market, "m2"), Role::Market).await.unwrap(),
    ];
    let mut streams = Vec::new();
    for market in [&m1, &m2] {
        let request = v1::WatchTrustRequest { known_sequence: 0 };
        let mut stream =
            world.trust(&market.credentials()).await.watch_trust(request).await.unwrap().into_inner();
        next(&mut stream).await;
        streams.push(stream);
    }
    world.pki().revoke("m1", clock::now()).unwrap();
    let ended = tokio::time::timeout(DEADLINE, streams[0].message()).await.unwrap().unwrap_err();
    assert_eq!(reason(&ended), Some(Reason::CertificateRevoked));
    // The other host of the market goes on.
    assert!(revokes(&next(&mut streams[1]).await, m1.joined.peer.serial()));
}

#[tokio::test]
async fn only_markets_follow() {
    let world = World::new().await;
    let alice = Member::join(&world.invite(Role::Seller, "alice"), Role::Seller).await.unwrap();
    let request = v1::WatchTrustRequest { known_sequence: 0 };
    let refused = world.trust(&alice.credentials()).await.watch_trust(request).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::RoleDenied));
    let code = world.invite(Role::Buyer, "bob");
    let mut stranger = v1::trust_service_client::TrustServiceClient::new(world.anonymous(&code).await);
    let refused = stranger.watch_trust(request).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::CertificateRequired));
    // Bundles hold nothing secret, so anybody may ask for them.
    let answer = stranger.get_trust(v1::GetTrustRequest { known_sequence: 0 }).await.unwrap().into_inner();
    assert_eq!((answer.bundles.len(), answer.latest_sequence), (1, 1));
}
