//! Certificates that come with others, or that do not say what they are for.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::{
    AlertDescription, ClientConfig,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use souk_certs::identity::Role;
use souk_testkit::local::LocalMarketOptions;
use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};

use crate::{
    fixture::{Fixture, MARKET, PATIENCE, attacks, connect_from, greet_on},
    forge::{KeyAndChain, client, from_files, honest_params, own_root, sign},
    handshake::{End, alert, show, show_changed},
};

attacks!(
    leaf_with_self_made_authorities,
    honest_leaf_with_self_made_authorities,
    leaf_followed_by_the_trusted_root_passes_as_openssl_sends_it,
    self_made_authorities_at_a_callback_server,
    certificate_without_extended_key_usage,
    certificate_without_key_usage,
    certificate_for_key_encipherment_only,
    silent_sockets_at_a_callback_server,
);

/// Returns this many CA certificates that share their subject and issuer, and a leaf below them. A verifier that searches
/// for a path tries them in every order.
fn self_made(count: usize) -> KeyAndChain {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Anybody");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authorities = (0..count)
        .map(|_| params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone())
        .collect::<Vec<_>>();
    let issuer = Issuer::new(params, KeyPair::generate().unwrap());
    let mut forged = sign(&issuer, &honest_params("spiffe://souk.internal/market"));
    forged.chain.extend(authorities);
    forged
}

async fn leaf_with_self_made_authorities(fixture: &Fixture) {
    for count in [1, 10] {
        // A verifier that had searched for a path would answer UnknownCA.
        let end = show(fixture, self_made(count)).await;
        assert_eq!(end, End::Alert(AlertDescription::CertificateUnknown), "{count}");
    }
}

async fn honest_leaf_with_self_made_authorities(fixture: &Fixture) {
    let config = fixture.market.identity(Role::Seller, "Mallory").await.unwrap();
    let mut own = from_files(&config.credentials);
    own.chain.extend(self_made(10).chain);
    assert_eq!(show(fixture, own).await, End::Alert(AlertDescription::CertificateUnknown));
}

async fn leaf_followed_by_the_trusted_root_passes_as_openssl_sends_it(fixture: &Fixture) {
    let config = fixture.market.identity(Role::Seller, "Mallory").await.unwrap();
    let mut own = from_files(&config.credentials);
    own.chain.push(CertificateDer::from_pem_file(fixture.market.path().join("pki/ca.pem")).unwrap());
    assert_eq!(show(fixture, own).await, End::Let);
}

async fn self_made_authorities_at_a_callback_server(fixture: &Fixture) {
    let events = fixture.alice.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], events.port().unwrap()));
    let name = format!("{}.seller.souk.internal", fixture.alice.id());
    let tls = client(fixture, Some(self_made(10)));
    let refused = greet_from("127.0.0.2", at, &name, tls).await.unwrap_err();
    assert_eq!(alert(&refused), Some(AlertDescription::CertificateUnknown), "{refused:?}");
    events.close().await;
}

async fn certificate_without_extended_key_usage(fixture: &Fixture) {
    let end = show_changed(fixture, own_root(fixture), |params| params.extended_key_usages = Vec::new());
    assert_eq!(end.await, End::Alert(AlertDescription::UnsupportedCertificate));
}

async fn certificate_without_key_usage(fixture: &Fixture) {
    let end = show_changed(fixture, own_root(fixture), |params| params.key_usages = Vec::new());
    assert_eq!(end.await, End::Alert(AlertDescription::UnsupportedCertificate));
}

async fn certificate_for_key_encipherment_only(fixture: &Fixture) {
    for usages in [vec![ExtendedKeyUsagePurpose::ClientAuth], vec![ExtendedKeyUsagePurpose::Any]] {
        let end = show_changed(fixture, own_root(fixture), |params| {
            params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
            params.extended_key_usages = usages;
        });
        assert_eq!(end.await, End::Alert(AlertDescription::UnsupportedCertificate));
    }
}

/// Connects from this address of the host, and returns the first data, or the error.
async fn greet_from(host: &str, to: SocketAddr, name: &str, tls: ClientConfig) -> std::io::Result<Vec<u8>> {
    greet_on(connect_from(host, to).await?, name, tls).await
}

/// More sockets from two hosts than the callback server performs handshakes. The market calls from another address.
async fn silent_sockets_at_a_callback_server(fixture: &Fixture) {
    let mut events = fixture.alice.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    fixture.alice.register(events.port()).await.unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], events.port().unwrap()));
    let mut silent = Vec::new();
    for host in ["127.0.0.2", "127.0.0.3", "127.0.0.4"] {
        for _ in 0..48 {
            silent.push(connect_from(host, at).await.unwrap());
        }
    }
    // The handshake timeout of the callback server is five seconds: nothing here waits for a silent socket to end.
    let registered = timeout(Duration::from_secs(4), fixture.alice.register(events.port()));
    registered.await.expect("the market's probe gets a place at once").unwrap();
    drop(silent);
    assert!(events.is_silent());
    events.close().await;
}

/// Handshakes that fail use up their address's budget: one a second and a burst of ten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_handshakes_are_limited_per_address() {
    let adjust = |config: &mut souk_server::config::Config| {
        config.limits.handshakes_per_second_of_address = 10;
        config.limits.handshakes_of_address = 1;
    };
    let fixture = Fixture::with(LocalMarketOptions { adjust, ..LocalMarketOptions::default() }).await;
    let (started, refused) = (Instant::now(), AtomicUsize::new(0));
    let attempt = || async {
        let tls = client(&fixture, Some(self_made(1)));
        let ended = greet_from("127.0.0.2", fixture.market.address(), MARKET, tls).await;
        if ended.is_err_and(|error| alert(&error).is_some()) {
            refused.fetch_add(1, Ordering::Relaxed);
        }
    };
    // As many at once as may wait, and again when they have ended.
    let flood = futures::future::join_all((0..40).map(|_| async {
        loop {
            attempt().await
        }
    }));
    let honest = async {
        let served = timeout(PATIENCE, async {
            for _ in 0..5 {
                fixture.bob.item(fixture.lamp.item_id).await.unwrap();
                let tls = from_files(&fixture.bob.config.credentials);
                assert_eq!(show(&fixture, tls).await, End::Let);
                sleep(Duration::from_millis(500)).await;
            }
        });
        served.await.expect("another address is not affected");
    };
    tokio::select! {
        _ = flood => unreachable!("it never ends"),
        () = honest => {}
    }
    let (refused, seconds) = (refused.into_inner(), started.elapsed().as_secs_f64());
    #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
    let within_budget = refused as f64 <= 12.0 + seconds;
    assert!(within_budget, "{refused} handshakes in {seconds} s");
    assert!(refused >= 10, "the burst is served: {refused}");
    fixture.hold().await;
}
