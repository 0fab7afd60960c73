//! Which certificates pass the handshake, in both directions.

use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, Error as TlsError};
use souk_authority::pki::{InitOptions, IssueOptions, Pki};
use souk_certs::acceptor::AcceptorLimits;
use souk_certs::clock;
use souk_certs::connector::{DialStep, Impostor, dial_error, tls_error};
use souk_certs::credentials::{CredentialFiles, Credentials};
use souk_certs::identity::{Identity, Role, TrustDomain};
use souk_certs::server::{ClientPolicy, server_config};
use time::Duration;

use crate::echo::{Server, ask};
use crate::world::{World, until};

async fn open_market(world: &World) -> Server {
    Server::start(&world.market(), ClientPolicy::AnyParty, AcceptorLimits::default()).await
}

/// Returns whether a call failed because the server sent this alert.
fn refused_by(status: &tonic::Status, alert: AlertDescription) -> bool {
    assert_eq!(dial_error(status).map(|error| error.step), Some(DialStep::Tls), "{status:?}");
    matches!(tls_error(status), Some(TlsError::AlertReceived(received)) if *received == alert)
}

#[tokio::test]
async fn a_party_calls_the_market_and_each_knows_the_other() {
    let mut world = World::new();
    for (name, role) in [("alice", Role::Seller), ("bob", Role::Buyer), ("olga", Role::Operator)] {
        let party = world.party(name, role);
        let market = open_market(&world).await;
        let seen = ask(market.address.into(), Identity::Market, world.client(&party)).await.unwrap();
        assert_eq!(seen, party.identity.spiffe_id(world.pki.trust_domain()));
        until("the connection is closed with its channel", || market.acceptor.connections() == 0).await;
        market.stop().await;
    }
}

#[tokio::test]
async fn the_market_calls_a_party_back() {
    let mut world = World::new();
    let alice = world.party("alice", Role::Seller);
    let callbacks =
        Server::start(&world.load(&alice), ClientPolicy::MarketOnly, AcceptorLimits::default()).await;
    let market = world.client(&world.pki.market().unwrap());
    let seen = ask(callbacks.address.into(), alice.identity, market).await.unwrap();
    assert_eq!(seen, "spiffe://souk.internal/market");
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let world = World::new();
    let market = open_market(&world).await;
    let status = ask(market.address.into(), Identity::Market, world.rogue(None, &["h2"])).await.unwrap_err();
    assert!(refused_by(&status, AlertDescription::CertificateRequired), "{status:?}");
}

#[tokio::test]
async fn a_client_of_another_authority_is_refused() {
    let (world, mut elsewhere) = (World::new(), World::new());
    let market = open_market(&world).await;
    let mallory = elsewhere.party("mallory", Role::Buyer);
    let rogue = world.rogue(Some(&mallory), &["h2"]);
    let status = ask(market.address.into(), Identity::Market, rogue).await.unwrap_err();
    assert!(
        refused_by(&status, AlertDescription::UnknownCA)
            || refused_by(&status, AlertDescription::DecryptError),
        "{status:?}"
    );
}

#[tokio::test]
async fn a_market_of_another_authority_is_refused() {
    let (mut world, elsewhere) = (World::new(), World::new());
    let bob = world.party("bob", Role::Buyer);
    let trap = open_market(&elsewhere).await;
    let status = ask(trap.address.into(), Identity::Market, world.client(&bob)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert_eq!(dial_error(&status).map(|error| error.step), Some(DialStep::Tls), "{status:?}");
    assert!(matches!(tls_error(&status), Some(TlsError::InvalidCertificate(_))), "{status:?}");
}

#[tokio::test]
async fn a_revoked_client_is_refused_as_soon_as_the_new_list_is_in_use() {
    let mut world = World::new();
    let (alice, bob) = (world.party("alice", Role::Seller), world.party("bob", Role::Buyer));
    let (alice, bob) = (world.client(&alice), world.client(&bob));
    let market = open_market(&world).await;
    ask(market.address.into(), Identity::Market, Arc::clone(&alice)).await.unwrap();

    world.pki.revoke("alice", clock::now()).unwrap();
    market.acceptor.swap(server_config(&world.market(), ClientPolicy::AnyParty).unwrap());
    let status = ask(market.address.into(), Identity::Market, alice).await.unwrap_err();
    assert!(refused_by(&status, AlertDescription::CertificateRevoked), "{status:?}");
    ask(market.address.into(), Identity::Market, bob).await.unwrap();
}

#[tokio::test]
async fn a_revoked_market_is_refused_by_clients_that_have_the_list() {
    let mut world = World::new();
    let bob = world.party("bob", Role::Buyer);
    let market = open_market(&world).await;
    world.pki.revoke("market", clock::now()).unwrap();
    let status = ask(market.address.into(), Identity::Market, world.client(&bob)).await.unwrap_err();
    let revoked = TlsError::InvalidCertificate(CertificateError::Revoked);
    assert_eq!(tls_error(&status), Some(&revoked), "{status:?}");
}

#[tokio::test]
async fn an_expired_client_is_refused() {
    let mut world = World::new();
    let then = clock::now() - Duration::days(100);
    let old = world.pki.issue("old", Role::Buyer, &IssueOptions::default(), then).unwrap();
    let credentials = Credentials::load(&old.files(), &TrustDomain::default(), then).unwrap();
    let market = open_market(&world).await;
    let config = souk_certs::client::client_config(&credentials).unwrap();
    let status = ask(market.address.into(), Identity::Market, config).await.unwrap_err();
    assert!(refused_by(&status, AlertDescription::CertificateExpired), "{status:?}");
}

#[tokio::test]
async fn another_partys_server_is_not_taken_for_the_expected_one() {
    let mut world = World::new();
    let (alice, eve) = (world.party("alice", Role::Seller), world.party("eve", Role::Seller));
    let trap = Server::start(&world.load(&eve), ClientPolicy::MarketOnly, AcceptorLimits::default()).await;
    let market = world.client(&world.pki.market().unwrap());
    let status = ask(trap.address.into(), alice.identity, market).await.unwrap_err();
    let refusal = tls_error(&status);
    let wrong_name =
        |error: &CertificateError| matches!(error, CertificateError::NotValidForNameContext { .. });
    assert!(matches!(refusal, Some(TlsError::InvalidCertificate(error)) if wrong_name(error)), "{status:?}");
}

/// A leaf may have additional DNS names, so the DNS name alone does not identify the party.
#[tokio::test]
async fn a_certificate_with_the_expected_name_but_another_identity_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (domain, now) = (TrustDomain::default(), clock::now());
    let uuid = souk_certs::random::uuid_v4();
    let alice = Identity::Seller(uuid);
    let options = InitOptions { dns: vec![alice.dns_name(&domain)], ..InitOptions::default() };
    let mut pki = Pki::init(folder.path(), &options, now).unwrap();
    let bob = pki.issue("bob", Role::Buyer, &IssueOptions::default(), now).unwrap();
    let load = |files: &CredentialFiles| Credentials::load(files, &domain, now).unwrap();

    let market = load(&pki.market().unwrap().files());
    let trap = Server::start(&market, ClientPolicy::AnyParty, AcceptorLimits::default()).await;
    let config = souk_certs::client::client_config(&load(&bob.files())).unwrap();
    let status = ask(trap.address.into(), alice, config).await.unwrap_err();
    let error = dial_error(&status).unwrap();
    let expected = Impostor::OtherParty { expected: alice, found: Identity::Market };
    assert_eq!(error.source.downcast_ref(), Some(&expected), "{status:?}");
}

#[tokio::test]
async fn a_callback_server_refuses_everyone_but_the_market() {
    let mut world = World::new();
    let (alice, bob) = (world.party("alice", Role::Seller), world.party("bob", Role::Buyer));
    let callbacks =
        Server::start(&world.load(&alice), ClientPolicy::MarketOnly, AcceptorLimits::default()).await;
    for party in [&bob, &alice] {
        let status = ask(callbacks.address.into(), alice.identity, world.client(party)).await.unwrap_err();
        assert_eq!(dial_error(&status).map(|error| error.step), Some(DialStep::Tls), "{status:?}");
    }
    assert_eq!(callbacks.acceptor.connections(), 0);
}
