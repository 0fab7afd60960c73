//! Roots and revocation lists reach a context by themselves, and its certificate follows a change of root.

use std::time::Instant;

use souk_certs::{
    clock::{self, Clock},
    identity::Role,
    random::{self, Random},
};
use souk_enrolment::{
    context::Context,
    renewal::{Record, catch_up, is_of_trusted_root, known_sequence},
};
use souk_testkit::{
    authority::LocalAuthority,
    local::{LocalMarket, LocalMarketOptions, StoreKind},
    terminal::{Running, Terminal},
};
use time::Duration;
use tokio::time::sleep;

use super::{BUYER, VISIBLE_WITHIN};

/// How often a condition is looked at.
const LOOK: std::time::Duration = std::time::Duration::from_millis(50);

async fn town() -> (LocalMarket, LocalAuthority) {
    town_on(StoreKind::Memory).await
}

async fn town_on(store: StoreKind) -> (LocalMarket, LocalAuthority) {
    let options = LocalMarketOptions { store, ..LocalMarketOptions::default() };
    LocalAuthority::with_market(options).await.expect("a market")
}

/// Starts a listener, and waits until it follows the mailbox.
async fn listening(terminal: &Terminal) -> Running {
    let mut running = terminal.start_with_errors(&["listen"]);
    until_line(&mut running, "you have seen everything").await;
    running
}

async fn until_line(running: &mut Running, words: &str) {
    while !running.error_line().await.contains(words) {}
}

async fn joined(authority: &LocalAuthority, name: &str) -> Terminal {
    let (terminal, code) = (Terminal::bare(BUYER), authority.invite(Role::Buyer, name));
    let begin = Instant::now();
    loop {
        let ran = terminal.run(&["join", &code, "--as", "mine"]).await;
        // The authority shows a new root a moment after it was made. Before that, nothing is sent.
        if ran.code == 4 && ran.err.contains("nothing was sent") && begin.elapsed() < VISIBLE_WITHIN {
            continue;
        }
        assert_eq!(ran.code, 0, "{ran:?}");
        return terminal;
    }
}

/// Makes the last look of a context an hour old.
fn an_hour_passes(terminal: &Terminal) {
    let context = terminal.context("mine");
    let hour_ago = Some(clock::now() - Duration::hours(1));
    let record = Record { trust_at: hour_ago, looked_at: hour_ago, ..Record::read(&context) };
    record.write(&context, random::uuid_v4()).expect("written");
}

fn sequence(terminal: &Terminal) -> i64 {
    known_sequence(&terminal.context("mine")).expect("a bundle")
}

/// Runs a command every hour until the context has news.
async fn until_news(terminal: &Terminal, before: i64) {
    let begin = Instant::now();
    while sequence(terminal) == before {
        assert!(begin.elapsed() < VISIBLE_WITHIN, "no news");
        an_hour_passes(terminal);
        let ran = terminal.run(&["orders"]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_reaches_the_context_after_a_command_and_cuts_its_party() {
    let (_market, authority) = town().await;
    let (bob, carol) = (joined(&authority, "bob").await, joined(&authority, "carol").await);
    assert_eq!(bob.run(&["orders"]).await.code, 0);
    let before = sequence(&bob);
    authority.pki().revoke("carol", clock::now()).expect("revoked");
    until_news(&bob, before).await;
    // Within the hour, nobody asks again.
    let (before, asked) = (sequence(&bob), Record::read(&bob.context("mine")).trust_at);
    authority.pki().refresh_crl(clock::now()).expect("a list");
    assert_eq!(bob.run(&["orders"]).await.code, 0);
    assert_eq!((sequence(&bob), Record::read(&bob.context("mine")).trust_at), (before, asked));

    let cut = carol.run(&["orders"]).await;
    cut.assert_fails(4, &["revoked", "gen-certs invite buyer carol --again", "`buyer join`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_party_that_is_invited_again_keeps_its_context_and_its_account() {
    let (_market, authority) = town().await;
    let bob = joined(&authority, "bob").await;
    let account = async || bob.run(&["whoami", "--output", "json"]).await.json()["account"].clone();
    let before = account().await;
    authority.pki().revoke("bob", clock::now()).expect("revoked");
    let begin = Instant::now();
    while bob.run(&["orders"]).await.code == 0 {
        assert!(begin.elapsed() < VISIBLE_WITHIN, "not cut");
    }
    bob.run(&["orders"]).await.assert_fails(4, &["gen-certs invite buyer bob --again", "`buyer join`"]);
    let code = authority.invite_as(Role::Buyer, "bob", true);
    let again = bob.run(&["join", &code]).await;
    assert!(again.code == 0 && again.out.contains("context mine is current"), "{again:?}");
    assert_eq!(bob.run(&["orders"]).await.code, 0);
    assert_eq!(account().await, before);
    let listed = bob.run(&["context", "list", "--output", "json"]).await.json();
    assert_eq!(listed["contexts"].as_array().map(Vec::len), Some(1), "{listed}");
    // The same command again finds it complete.
    assert_eq!(bob.run(&["join", &code]).await.code, 0);
}

fn change_root(authority: &LocalAuthority) {
    let mut pki = authority.pki();
    pki.new_root(clock::now()).expect("another root");
    pki.retire_root(true, clock::now()).expect("retired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_party_that_slept_through_a_change_of_root_goes_on() {
    let (_market, authority) = town().await;
    let bob = joined(&authority, "bob").await;
    assert_eq!(bob.run(&["orders"]).await.code, 0);
    change_root(&authority);
    change_root(&authority);
    // Until the market has followed, it accepts the certificate of before.
    let (begin, before) = (Instant::now(), bob.context("mine").generation().expect("complete").key);
    while bob.context("mine").generation().expect("complete").key == before {
        assert!(begin.elapsed() < VISIBLE_WITHIN, "not renewed");
        let ran = bob.run(&["orders"]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let ran = bob.run(&["orders"]).await;
    assert!(ran.code == 0 && !ran.err.contains("root"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_follows_the_new_root_before_the_old_one_retires() {
    let (_market, authority) = town().await;
    let bob = joined(&authority, "bob").await;
    let before = sequence(&bob);
    authority.pki().new_root(clock::now()).expect("another root");
    until_news(&bob, before).await;
    let left = authority.pki().retire_root(false, clock::now()).expect_err("the market is left").to_string();
    assert!(left.contains("market-1") && !left.contains("bob"), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_market_that_was_off_during_a_change_of_root_opens_again() {
    let (mut market, authority) = town().await;
    let bob = joined(&authority, "bob").await;
    market.stop().await.expect("it stops");
    change_root(&authority);
    // As if it had been killed right after it had followed.
    let context = Context::at(market.path().join("market"));
    let begin = Instant::now();
    while is_of_trusted_root(&context).expect("a market") {
        assert!(begin.elapsed() < VISIBLE_WITHIN, "the authority does not show its new root");
        let _ = catch_up(&context, Clock::SYSTEM, Random::SYSTEM).await;
    }
    market.start().await.expect("it opens");
    assert!(is_of_trusted_root(&context).expect("a market"));
    // Its store was in memory.
    let ran = bob.run(&["register", "Bob"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_asks_for_news_when_it_has_its_market_back() {
    let (mut market, authority) = town_on(StoreKind::Sqlite).await;
    let bob = joined(&authority, "bob").await;
    let mut listener = listening(&bob).await;
    // Its first question, at the start, has been answered.
    let begin = Instant::now();
    while Record::read(&bob.context("mine")).looked_at.is_none() {
        assert!(begin.elapsed() < VISIBLE_WITHIN, "it does not look after its context");
        sleep(LOOK).await;
    }
    let before = sequence(&bob);
    market.stop().await.expect("it stops");
    authority.pki().refresh_crl(clock::now()).expect("a list");
    market.start().await.expect("it starts");
    let begin = Instant::now();
    while sequence(&bob) == before {
        assert!(begin.elapsed() < 2 * VISIBLE_WITHIN, "no news");
        sleep(LOOK).await;
    }
    until_line(&mut listener, "reconnected").await;
    assert_eq!(listener.interrupt().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_goes_on_when_the_root_of_its_certificate_is_retired() {
    let (_market, authority) = town().await;
    let bob = joined(&authority, "bob").await;
    let mut listener = listening(&bob).await;
    change_root(&authority);
    until_line(&mut listener, "reconnected").await;
    until_line(&mut listener, "you have seen everything").await;
    assert!(is_of_trusted_root(&bob.context("mine")).expect("complete"));
    assert_eq!(listener.interrupt().await, 0);
}
