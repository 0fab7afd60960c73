//! The acceptor's limits, and its checks beyond certificates.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use souk_certs::acceptor::{AcceptError, Acceptor, AcceptorLimits, TlsConnection};
use souk_certs::identity::{Identity, Role, TrustDomain};
use souk_certs::server::{ClientPolicy, server_config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::echo::{Server, ask};
use crate::world::{World, until, within};

fn limits(handshakes: usize, milliseconds: u64) -> AcceptorLimits {
    AcceptorLimits {
        handshakes,
        handshake_timeout: Duration::from_millis(milliseconds),
        ..AcceptorLimits::default()
    }
}

/// Connects a client with `config` to a market's acceptor, and returns the acceptor's result.
async fn meet(world: &World, config: Arc<rustls::ClientConfig>) -> Result<TlsConnection, AcceptError> {
    let config_of_market = server_config(&world.market(), ClientPolicy::AnyParty).unwrap();
    let (domain, policy) = (TrustDomain::default(), ClientPolicy::AnyParty);
    let acceptor = Acceptor::new(config_of_market, domain, policy, AcceptorLimits::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = tokio::spawn(async move {
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("market.souk.internal").unwrap();
        let mut tls = TlsConnector::from(config).connect(name, tcp).await.ok()?;
        let mut end = Vec::new();
        tls.read_to_end(&mut end).await.ok()
    });
    let (tcp, from) = listener.accept().await.unwrap();
    let met = within(acceptor.accept(tcp, from)).await.unwrap();
    client.abort();
    met
}

#[tokio::test]
async fn only_h2_is_spoken() {
    let mut world = World::new();
    let alice = world.party("alice", Role::Seller);
    let met = meet(&world, world.rogue(Some(&alice), &["h2", "http/1.1"])).await.unwrap();
    assert_eq!(met.peer().certificate.identity(), alice.identity);

    let http1 = meet(&world, world.rogue(Some(&alice), &["http/1.1"])).await;
    assert!(matches!(http1, Err(AcceptError::Handshake(_))), "{http1:?}");
    let nothing_offered = meet(&world, world.rogue(Some(&alice), &[])).await;
    assert!(matches!(nothing_offered, Err(AcceptError::NotH2)), "{nothing_offered:?}");
}

#[tokio::test]
async fn no_session_is_ever_resumed() {
    let mut world = World::new();
    let alice = world.party("alice", Role::Seller);
    // This client would resume its session if it received a ticket.
    let config = world.rogue(Some(&alice), &["h2"]);
    let market = Server::start(&world.market(), ClientPolicy::AnyParty, AcceptorLimits::default()).await;
    for _ in 0..3 {
        let tcp = TcpStream::connect(market.address).await.unwrap();
        let name = ServerName::try_from("market.souk.internal").unwrap();
        let mut tls = TlsConnector::from(Arc::clone(&config)).connect(name, tcp).await.unwrap();
        // Tickets are sent after the handshake, before the server's first bytes.
        tls.read_u8().await.unwrap();
        assert_eq!(tls.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

#[tokio::test]
async fn a_silent_socket_is_closed_after_the_handshake_timeout() {
    let world = World::new();
    let market = Server::start(&world.market(), ClientPolicy::AnyParty, limits(8, 50)).await;
    let mut silent = TcpStream::connect(market.address).await.unwrap();
    assert_eq!(within(silent.read(&mut [0; 16])).await.unwrap().unwrap_or(0), 0);
    until("its handshake is over", || market.acceptor.handshakes() == 0).await;
}

#[tokio::test]
async fn a_socket_that_talks_nonsense_is_closed() {
    let world = World::new();
    let market = Server::start(&world.market(), ClientPolicy::AnyParty, AcceptorLimits::default()).await;
    let mut confused = TcpStream::connect(market.address).await.unwrap();
    confused.write_all(b"GET / HTTP/1.1\r\nHost: market\r\n\r\n").await.unwrap();
    let mut end = Vec::new();
    let _ = within(confused.read_to_end(&mut end)).await.unwrap();
    assert!(!end.starts_with(b"HTTP"));
    until("its handshake is over", || market.acceptor.handshakes() == 0).await;
}

#[tokio::test]
async fn silent_sockets_never_exceed_the_bound_and_an_honest_client_gets_its_turn() {
    let mut world = World::new();
    let alice = world.party("alice", Role::Seller);
    let market = Server::start(&world.market(), ClientPolicy::AnyParty, limits(2, 100)).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(market.address).await.unwrap());
    }
    until("the places are taken", || market.acceptor.handshakes() == 2).await;
    let asked = tokio::spawn(ask(market.address.into(), Identity::Market, world.client(&alice)));
    until("everyone had a turn", || {
        assert!(market.acceptor.handshakes() <= 2);
        asked.is_finished()
    })
    .await;
    asked.await.unwrap().unwrap();
}

#[tokio::test]
async fn accept_gives_up_when_no_place_comes_free() {
    let world = World::new();
    let config = server_config(&world.market(), ClientPolicy::AnyParty).unwrap();
    let acceptor = Acceptor::new(config, TrustDomain::default(), ClientPolicy::AnyParty, limits(1, 50));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (tcp, from) = listener.accept().await.unwrap();
    let taken = acceptor.slot().await;
    let refused = within(acceptor.accept(tcp, from)).await.unwrap();
    assert!(matches!(refused, Err(AcceptError::Busy)), "{refused:?}");
    drop(taken);
}

#[tokio::test]
async fn the_market_does_not_open_without_a_revocation_list() {
    let mut world = World::new();
    let alice = world.party("alice", Role::Seller);
    std::fs::remove_file(world.path("crl.pem")).unwrap();
    let credentials = world.load(&alice);
    let refused = server_config(&credentials, ClientPolicy::AnyParty);
    assert!(matches!(refused, Err(souk_certs::TlsError::NoCrl)), "{refused:?}");
    assert!(server_config(&credentials, ClientPolicy::MarketOnly).is_ok());
}
