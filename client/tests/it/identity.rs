//! Rejected certificates are reported as identity failures, not as a broken network.

use std::time::Duration;

use souk_client::{
    ClientConfig, Connection, Error,
    error::{Distrust, Objection, Step},
};
use souk_proto::v1::WhoAmIRequest;
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use crate::world::World;

async fn who_am_i(config: ClientConfig) -> Error {
    let connection = Connection::open(&config).await.expect("opened");
    let answer = connection.call(WhoAmIRequest {}).await;
    answer.expect_err("refused")
}

fn assert_distrust(failure: &Error, expected: &Distrust) {
    match failure {
        Error::Untrusted { distrust, .. } => assert_eq!(distrust, expected),
        other => panic!("{other:?}"),
    }
    assert_eq!(souk_cli::exit::of_error(failure), 4);
    assert!(failure.hint().is_some());
}

#[tokio::test]
async fn a_revoked_certificate_is_reported_as_such() {
    let world = World::open_with_revoked("seller/mallory").await;
    let mallory = world.party("seller/mallory");
    let failure = who_am_i(world.config(&mallory)).await;
    assert_distrust(&failure, &Distrust::Ours(Objection::Revoked));
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_reported_as_such() {
    let (world, other) = (World::open().await, World::open().await);
    // It trusts the market's authority, but its own certificate is from another.
    let stranger = other.party("seller/alice").trusting(&world);
    let failure = who_am_i(world.config(&stranger)).await;
    assert_distrust(&failure, &Distrust::Ours(Objection::UnknownAuthority));
}

#[tokio::test]
async fn a_market_of_another_authority_is_not_trusted() {
    let (world, other) = (World::open().await, World::open().await);
    let alice = world.party("seller/alice");
    let config = ClientConfig { market: other.dial().into(), ..world.config(&alice) };
    let failure = who_am_i(config).await;
    assert_distrust(&failure, &Distrust::Theirs(Objection::UnknownAuthority));
}

#[tokio::test]
async fn a_seller_is_not_taken_for_the_market() {
    let world = World::open().await;
    let (alice, mallory) = (world.party("seller/alice"), world.party("seller/mallory"));
    let impostor = crate::market::Market::open(&mallory.credentials).await;
    let market = impostor.address.to_string().parse().expect("a dial");
    let failure = who_am_i(ClientConfig { market, ..world.config(&alice) }).await;
    assert_distrust(&failure, &Distrust::Theirs(Objection::WrongName));
}

#[tokio::test]
async fn a_closed_port_is_a_matter_of_the_network() {
    let world = World::open().await;
    let alice = world.party("seller/alice");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let market = listener.local_addr().expect("an address").to_string().parse().expect("a dial");
    drop(listener);
    let failure = who_am_i(ClientConfig { market, ..world.config(&alice) }).await;
    assert!(matches!(failure, Error::Unreachable { step: Step::Tcp, .. }), "{failure:?}");
    assert_eq!(souk_cli::exit::of_error(&failure), 6);
    assert!(failure.to_string().contains("refused"), "{failure}");
}

#[tokio::test]
async fn a_server_without_tls_is_a_matter_of_the_address() {
    let world = World::open().await;
    let alice = world.party("seller/alice");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let market = listener.local_addr().expect("an address").to_string().parse().expect("a dial");
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // The client may disconnect first.
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let failure = who_am_i(ClientConfig { market, ..world.config(&alice) }).await;
    assert!(matches!(failure, Error::Unreachable { step: Step::Tls, .. }), "{failure:?}");
    server.abort();
}

#[tokio::test]
async fn a_market_that_never_answers_is_given_up() {
    let world = World::open().await;
    let alice = world.party("seller/alice");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let market = listener.local_addr().expect("an address").to_string().parse().expect("a dial");
    let config = ClientConfig { market, timeout: Duration::from_millis(300), ..world.config(&alice) };
    let failure = who_am_i(config).await;
    assert_eq!(souk_cli::exit::of_error(&failure), 6, "{failure:?}");
}
