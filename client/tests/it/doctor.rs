//! The doctor finds the first problem, and skips the checks that depend on it.

use souk_cli::doctor::{Finding, Outcome, examine};
use souk_cli::{Audience, exit};
use souk_client::ClientConfig;
use souk_proto::Reason;
use tokio::net::TcpListener;

use crate::{market::refusal, world::World};

fn finding<'a>(findings: &'a [Finding], check: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.check == check).expect("every check is there")
}

/// Asserts that everything before `check` passes, `check` fails with a remedy, and the rest is skipped.
fn assert_stops_at(findings: &[Finding], check: &str, exit_code: u8) {
    let place = findings.iter().position(|finding| finding.check == check).expect("every check is there");
    assert!(findings[..place].iter().all(|finding| finding.outcome == Outcome::Pass), "{findings:#?}");
    assert_eq!(findings[place].outcome, Outcome::Fail(exit_code), "{findings:#?}");
    assert!(findings[place].remedy.is_some(), "{findings:#?}");
    assert!(findings[place + 1..].iter().all(|finding| finding.outcome == Outcome::Skip), "{findings:#?}");
}

#[tokio::test]
async fn all_is_well_by_subscribe() {
    let world = World::open().await;
    world.market.script().echo_to_stream = true;
    let findings = examine(&world.config(&world.party("seller/alice")), Audience::Seller).await;
    assert!(findings.iter().all(|finding| finding.outcome == Outcome::Pass), "{findings:#?}");
}

#[tokio::test]
async fn a_missing_file_stops_everything() {
    let world = World::open().await;
    let mut config = world.config(&world.party("seller/alice"));
    config.credentials.cert = "no/such.pem".into();
    assert_stops_at(&examine(&config, Audience::Seller).await, "files", exit::IDENTITY);
}

#[tokio::test]
async fn a_key_of_another_certificate_is_found() {
    let world = World::open().await;
    let (alice, carol) = (world.party("seller/alice"), world.party("seller/carol"));
    let mut config = world.config(&alice);
    config.credentials.key = carol.files.key.clone();
    let findings = examine(&config, Audience::Seller).await;
    assert_stops_at(&findings, "files", exit::IDENTITY);
    assert!(findings[0].detail.contains("key"), "{}", findings[0].detail);
}

#[tokio::test]
async fn a_closed_port_is_found() {
    let world = World::open().await;
    let config = world.config(&world.party("seller/alice"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let market = format!("127.0.0.1:{port}").parse().expect("a dial");
    assert_stops_at(
        &examine(&ClientConfig { market, ..config }, Audience::Seller).await,
        "tcp",
        exit::UNAVAILABLE,
    );
}

#[tokio::test]
async fn a_market_of_another_authority_is_found() {
    let (world, other) = (World::open().await, World::open().await);
    let config = world.config(&world.party("seller/alice"));
    let findings = examine(&ClientConfig { market: other.dial().into(), ..config }, Audience::Seller).await;
    assert_stops_at(&findings, "tls", exit::IDENTITY);
}

#[tokio::test]
async fn a_clock_that_is_off_is_warned_about() {
    let world = World::open().await;
    world.market.script().echo_to_stream = true;
    world.market.script().clock_ahead = time::Duration::seconds(90);
    let findings = examine(&world.config(&world.party("seller/alice")), Audience::Seller).await;
    assert_eq!(finding(&findings, "clock").outcome, Outcome::Warn, "{findings:#?}");
    assert_eq!(finding(&findings, "events").outcome, Outcome::Pass, "{findings:#?}");
}

#[tokio::test]
async fn a_party_without_an_account_passes_and_is_asked_to_register() {
    let world = World::open().await;
    world.market.script().account = Err(refusal(Reason::NotRegistered));
    let findings = examine(&world.config(&world.party("seller/alice")), Audience::Seller).await;
    let identity = finding(&findings, "identity");
    assert_eq!(identity.outcome, Outcome::Warn, "{findings:#?}");
    assert_eq!(identity.remedy.as_deref(), Some("register first: `seller register NAME`"));
    assert_eq!(finding(&findings, "events").outcome, Outcome::Skip, "{findings:#?}");
    assert!(!findings.iter().any(|finding| matches!(finding.outcome, Outcome::Fail(_))), "{findings:#?}");
}

#[tokio::test]
async fn a_certificate_of_another_role_is_found() {
    let world = World::open().await;
    let findings = examine(&world.config(&world.party("seller/alice")), Audience::Buyer).await;
    assert_stops_at(&findings, "files", exit::IDENTITY);
    let files = finding(&findings, "files");
    assert!(files.detail.contains("is seller, not buyer"), "{}", files.detail);
    assert!(files.remedy.as_deref().unwrap_or_default().contains("gen-certs.sh invite buyer"), "{files:?}");
}
