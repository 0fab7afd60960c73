//! Rotation of certificates, keys and revocation lists at run time: honest clients notice nothing, and
//! revoked ones are cut off at once.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rustls::pki_types::CertificateDer;
use souk_certs::{clock, identity::Role};
use souk_proto::{Reason, v1, v1::event_service_client::EventServiceClient};
use souk_testkit::actor::Actor;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::{
    fixture::{Fixture, PATIENCE, attacks, figure, reason},
    forge::{client, from_files},
    raw::Pass,
};

attacks!(
    revoked_while_streaming,
    revoked_with_an_open_connection,
    older_list_put_back,
    corrupt_list_put_down,
    list_taken_away,
    files_that_do_not_fit_together,
    market_certificate_renewed_under_load,
    token_key_changed,
);

async fn enter(fixture: &Fixture, name: &str) -> Actor {
    let actor = Actor::enter(&fixture.market, Role::Seller, name).await.unwrap();
    actor.register(None).await.unwrap();
    actor
}

async fn revoked_while_streaming(fixture: &Fixture) {
    let mallory = enter(fixture, "Mallory").await;
    let channel = fixture.market.channel(Role::Seller, "Mallory").await.unwrap();
    let pass = Pass::of(fixture, &mallory).await;
    let request = pass.request(v1::SubscribeRequest::default());
    let mut stream = EventServiceClient::new(channel).subscribe(request).await.unwrap().into_inner();
    fixture.market.change_pki(|pki| pki.revoke("mallory", clock::now())).unwrap();
    let changed = Instant::now();
    let end = timeout(PATIENCE, async {
        // Messages that were in flight may still arrive.
        while let Ok(Some(_)) = stream.message().await {}
    });
    end.await.expect("the stream ends");
    figure(&format!(
        "revoked while streaming: the stream ended {:?} after the list changed",
        changed.elapsed()
    ));
    shut_out(fixture, &mallory).await;
}

async fn revoked_with_an_open_connection(fixture: &Fixture) {
    let mallory = enter(fixture, "Mallory").await;
    fixture.market.change_pki(|pki| pki.revoke("mallory", clock::now())).unwrap();
    shut_out(fixture, &mallory).await;
}

/// Calls until the revocation has taken effect, and checks that nothing works for this party from then on,
/// on an old or a new connection.
async fn shut_out(fixture: &Fixture, actor: &Actor) {
    let out = timeout(PATIENCE, async { while actor.mailbox().await.is_ok() {} });
    out.await.expect("the revocation takes effect");
    stays_out(fixture, actor).await;
}

/// Checks that the party stays out for five times as long as the market takes to check its files again.
async fn stays_out(fixture: &Fixture, actor: &Actor) {
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        assert!(actor.mailbox().await.is_err(), "the old connection does not work again");
        // Without the client library, which checks the list itself.
        let fresh = client(fixture, Some(from_files(&actor.config.credentials)));
        assert!(fixture.greet(fresh).await.is_err(), "nor does a new one");
    }
}

async fn with_list_after_revocation(fixture: &Fixture, change: impl FnOnce(&std::path::Path, Vec<u8>)) {
    let mallory = enter(fixture, "Mallory").await;
    let list = fixture.market.path().join("pki/crl.pem");
    let old = fs::read(&list).unwrap();
    fixture.market.change_pki(|pki| pki.revoke("mallory", clock::now())).unwrap();
    shut_out(fixture, &mallory).await;
    let newest = fs::read(&list).unwrap();
    change(&list, old);
    stays_out(fixture, &mallory).await;
    fs::write(&list, newest).unwrap();
}

async fn older_list_put_back(fixture: &Fixture) {
    with_list_after_revocation(fixture, |list, old| fs::write(list, old).unwrap()).await;
}

async fn corrupt_list_put_down(fixture: &Fixture) {
    with_list_after_revocation(fixture, |list, old| fs::write(list, &old[..old.len() / 2]).unwrap()).await;
}

async fn list_taken_away(fixture: &Fixture) {
    with_list_after_revocation(fixture, |list, _| fs::remove_file(list).unwrap()).await;
}

/// Returns the certificate that the market presents to a new connection.
async fn shown(fixture: &Fixture) -> CertificateDer<'static> {
    let config = fixture.market.identity(Role::Seller, "Alice").await.unwrap();
    let tls = client(fixture, Some(from_files(&config.credentials)));
    let stream = fixture.shake_hands(tls).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

async fn files_that_do_not_fit_together(fixture: &Fixture) {
    let before = shown(fixture).await;
    let [cert, key] = ["pki/market.pem", "pki/market.key"].map(|name| fixture.market.path().join(name));
    let (old_cert, old_key) = (fs::read(&cert).unwrap(), fs::read(&key).unwrap());
    fixture.market.change_pki(|pki| pki.renew("market", false, clock::now())).unwrap();
    // Half of the change is undone before the files have been stable for long enough to be read.
    fs::write(&key, &old_key).unwrap();
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        assert_eq!(shown(fixture).await, before, "the old certificate stays");
    }
    fs::write(&cert, &old_cert).unwrap();
}

/// A thousand calls a second, with the deadline of a regular client, while the market's certificate is
/// renewed. Existing connections continue, and new ones see the new certificate.
async fn market_certificate_renewed_under_load(fixture: &Fixture) {
    const LANES: u64 = 4;
    const EACH: Duration = Duration::from_millis(4);
    let before = shown(fixture).await;
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut lanes = Vec::new();
    for _ in 0..LANES {
        let pass = Pass::of(fixture, &fixture.bob).await;
        let (done, stop) = (Arc::clone(&done), Arc::clone(&stop));
        lanes.push(tokio::spawn(async move {
            let mut pace = interval(EACH);
            pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
            while !stop.load(Ordering::Relaxed) {
                pace.tick().await;
                pass.call("/shopping.v1.SessionService/WhoAmI", Vec::new()).await.expect("no call is lost");
                done.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let begun = Instant::now();
    // Under full load both before and after the change.
    let calls = |more: u64| {
        let (done, from) = (Arc::clone(&done), done.load(Ordering::Relaxed));
        let enough = async move {
            let mut look = interval(EACH);
            while done.load(Ordering::Relaxed) < from + more {
                look.tick().await;
            }
        };
        async { timeout(PATIENCE, enough).await.expect("the calls go on") }
    };
    calls(500).await;
    fixture.market.change_pki(|pki| pki.renew("market", false, clock::now())).unwrap();
    let renewed = timeout(PATIENCE, async { while shown(fixture).await == before {} });
    renewed.await.expect("the renewed certificate is shown");
    calls(500).await;
    stop.store(true, Ordering::Relaxed);
    for lane in lanes {
        lane.await.unwrap();
    }
    let (calls, rate) =
        (done.load(Ordering::Relaxed), done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64());
    figure(&format!("market certificate renewed under load: {calls} calls at {rate:.0}/s, 0 lost"));
}

async fn token_key_changed(fixture: &Fixture) {
    let pass = Pass::of(fixture, &fixture.alice).await;
    let who = "/shopping.v1.SessionService/WhoAmI";
    let rotate = || fixture.market.change_pki(souk_authority::pki::Pki::rotate_token_key).unwrap();
    let kid = |pass: &Pass| jsonwebtoken::decode_header(pass.token()).unwrap().kid;
    let newly_signed = async |before: Option<String>| {
        let changed = timeout(PATIENCE, async {
            loop {
                let pass = Pass::of(fixture, &fixture.alice).await;
                if kid(&pass) != before {
                    return pass;
                }
            }
        });
        changed.await.expect("the new key is in use")
    };
    rotate();
    let second = newly_signed(kid(&pass)).await;
    pass.call(who, Vec::new()).await.expect("the key before the change is good still");
    second.call(who, Vec::new()).await.unwrap();
    rotate();
    let third = newly_signed(kid(&second)).await;
    assert_eq!(reason(pass.call(who, Vec::new()).await), Reason::TokenInvalid, "the one before that is not");
    second.call(who, Vec::new()).await.unwrap();
    third.call(who, Vec::new()).await.unwrap();
    // The client library fetches a new token without the caller's help.
    fixture.alice.connection.call(v1::WhoAmIRequest {}).await.unwrap();
}

/// Both roots are trusted during the change; afterwards certificates of the old root are refused, and their
/// open connections are cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_changed() {
    let fixture = &Fixture::open().await;
    let left_behind = enter(fixture, "Mallory").await;
    let old_papers = client(fixture, Some(from_files(&left_behind.config.credentials)));
    fixture.market.change_pki(|pki| pki.new_root(clock::now())).unwrap();
    let renewed = ["market", "alice", "bob"].map(|name| {
        fixture.market.change_pki(|pki| pki.renew(name, false, clock::now())).unwrap().name.to_string()
    });
    assert_eq!(renewed.len(), 3);
    // The market presents its certificate of the new root, and still accepts one of the old root.
    let config = fixture.market.identity(Role::Seller, "Alice").await.unwrap();
    let taken = timeout(PATIENCE, async {
        let connect = || client(fixture, Some(from_files(&config.credentials)));
        while fixture.greet(connect()).await.is_err() {}
    });
    taken.await.expect("the new root is trusted");
    left_behind.mailbox().await.unwrap();
    fixture.market.change_pki(|pki| pki.retire_root(true, clock::now())).unwrap();
    let out = timeout(PATIENCE, async { while left_behind.mailbox().await.is_ok() {} });
    out.await.expect("the former root is no longer trusted");
    assert!(fixture.greet(old_papers).await.is_err());
    // Clients with new certificates continue: they read the same files again.
    for (role, name) in [(Role::Seller, "Alice"), (Role::Buyer, "Bob")] {
        let fresh = Actor::enter(&fixture.market, role, name).await.unwrap();
        assert_eq!(fresh.item(fixture.lamp.item_id).await.unwrap(), fixture.lamp);
    }
}

mod at_the_start {
    use super::*;

    async fn refused_to_start(change: impl FnOnce(&std::path::Path)) -> String {
        let mut fixture = Fixture::with(souk_testkit::local::LocalMarketOptions::default()).await;
        change(&fixture.market.path().join("pki/crl.pem"));
        let error = fixture.market.restart().await.expect_err("it does not start");
        error.to_string()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn list_absent() {
        let error = refused_to_start(|list| fs::remove_file(list).unwrap()).await;
        assert!(error.contains("crl.pem"), "{error}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn list_corrupt() {
        for bytes in [&b""[..], b"garbage", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"] {
            let error = refused_to_start(|list| fs::write(list, bytes).unwrap()).await;
            assert!(error.contains("crl.pem"), "{error}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn list_of_another_authority() {
        let elsewhere = Fixture::open().await;
        let foreign = fs::read(elsewhere.market.path().join("pki/crl.pem")).unwrap();
        let error = refused_to_start(|list| fs::write(list, foreign).unwrap()).await;
        assert!(error.contains("crl.pem"), "{error}");
    }
}

/// Waits until a metric has the expected value.
async fn figure_of(address: std::net::SocketAddr, name: &str, is_right: impl Fn(i64) -> bool) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let reached = timeout(PATIENCE, async {
        loop {
            let mut tcp = tokio::net::TcpStream::connect(address).await.unwrap();
            tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            tcp.read_to_string(&mut answer).await.unwrap();
            let value = answer.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            if is_right(value.unwrap_or_else(|| panic!("{name} is not in {answer}"))) {
                return;
            }
        }
    });
    reached.await.unwrap_or_else(|_| panic!("{name} does not become right"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soonest_expiry_is_exposed_and_follows_a_renewal() {
    // A free port: found by binding a listener, which is closed before the market binds the port.
    static ADMIN: std::sync::OnceLock<std::net::SocketAddr> = std::sync::OnceLock::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    ADMIN.set(free.local_addr().unwrap()).unwrap();
    drop(free);
    let adjust = |config: &mut souk_server::config::Config| config.server.admin_listen = ADMIN.get().copied();
    let options = souk_testkit::local::LocalMarketOptions { adjust, ..Default::default() };
    let fixture = Fixture::with(options).await;
    let address = *ADMIN.get().unwrap();
    let end = |fixture: &Fixture| {
        let market = fixture.market.change_pki(|pki| pki.market().unwrap());
        let now = clock::now();
        let domain = souk_certs::identity::TrustDomain::default();
        let loaded = souk_certs::credentials::Credentials::load(&market.files(), &domain, now).unwrap();
        (loaded.expiries().soonest().unix_timestamp(), loaded.expiries().certificate.unix_timestamp())
    };
    let (soonest, certificate) = end(&fixture);
    assert!(soonest < certificate, "the revocation list is the first to end");
    figure_of(address, "souk_soonest_expiry_timestamp_seconds", |value| value == soonest).await;
    figure_of(address, "souk_certificate_expiry_timestamp_seconds", |value| value == certificate).await;
    fixture.market.change_pki(|pki| pki.refresh_crl(clock::now() + time::Duration::days(5))).unwrap();
    let (later, _) = end(&fixture);
    assert!(later > soonest);
    figure_of(address, "souk_soonest_expiry_timestamp_seconds", |value| value == later).await;
    figure_of(address, "souk_connections", |value| value > 0).await;
    fixture.hold().await;
}
