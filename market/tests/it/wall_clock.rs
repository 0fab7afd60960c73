//! A market whose wall clock is wrong: nothing is deleted, expired or postponed because of it.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use assert_cmd::Command;
use souk_certs::identity::Role;
use souk_proto::v1;
use souk_server::{clock::Clock, config::Config};
use souk_testkit::{
    eventually,
    local::{LocalMarket, LocalMarketOptions, StoreKind},
    postgres::{Database, is_there},
};

use crate::fixture::{Fixture, Party, call};

const DAY: Duration = Duration::from_secs(86_400);
/// Beyond every retention.
const FORTY_DAYS: Duration = Duration::from_secs(40 * 86_400);
/// Far enough from both ends of a certificate's life of 90 days.
const ISSUED_AGO: Duration = Duration::from_secs(45 * 86_400);
/// Clean-up runs at every start, beside the first calls. After this many of them, its queries have been answered.
const CALLS: usize = 20;

const AHEAD: Clock = Clock::new(|| Clock::SYSTEM.now().plus(FORTY_DAYS));
const BEHIND: Clock = Clock::new(|| Clock::SYSTEM.now().minus(FORTY_DAYS));

async fn open(store: StoreKind, clock: Clock) -> Fixture {
    let options =
        LocalMarketOptions { store, clock, issued_ago: ISSUED_AGO, ..LocalMarketOptions::default() };
    Fixture::over(LocalMarket::open(options).await.unwrap())
}

async fn mailbox(party: &Party) -> v1::MailboxStatusResponse {
    call!(party, MailboxStatusRequest {}).unwrap()
}

async fn clock(operator: &Party) -> v1::ClockState {
    call!(operator, GetClockRequest {}).unwrap().clock.unwrap()
}

/// Whatever happened to the clock, the market remembers the purchase and its event.
async fn remembers(fixture: &Fixture, request_id: &str, order: &v1::Order) {
    let (alice, bob) = (fixture.known(Role::Seller, "alice").await, fixture.known(Role::Buyer, "bob").await);
    for _ in 0..CALLS {
        assert_eq!(mailbox(&alice).await.pending_count, 1, "the undelivered event is kept");
    }
    let again = bob.buy_as(request_id.to_owned(), order.item_id, 2).await.unwrap();
    assert_eq!(&again, order, "a repeated request does not buy twice");
}

async fn nothing_is_deleted_on_the_word_of_a_clock(store: StoreKind) {
    let mut fixture = open(store, Clock::SYSTEM).await;
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(9).await;
    let request_id = bob.request_id();
    let order = bob.buy_as(request_id.clone(), lamp, 2).await.unwrap();

    // To the market this is the same as 40 days without running, which are not age either.
    fixture.market.restart_at(AHEAD).await.unwrap();
    remembers(&fixture, &request_id, &order).await;
    let olga = fixture.stranger(Role::Operator, "olga").await;
    assert!(!clock(&olga).await.paused);

    // The clock is corrected, and then set back as far.
    for wall in [Clock::SYSTEM, BEHIND] {
        fixture.market.restart_at(wall).await.unwrap();
        remembers(&fixture, &request_id, &order).await;
        let olga = fixture.stranger(Role::Operator, "olga").await;
        let state = clock(&olga).await;
        assert!(state.paused && state.jump_seconds <= -39 * 86_400, "{state:?}");
        assert!(state.pause_left.is_some_and(|left| left.seconds > 7_000), "{state:?}");
    }
    let olga = fixture.stranger(Role::Operator, "olga").await;
    let accepted = call!(olga, AcceptClockRequest {}).unwrap().clock.unwrap();
    assert!(!accepted.paused && !clock(&olga).await.paused);
    remembers(&fixture, &request_id, &order).await;
    let found = fixture.known(Role::Buyer, "bob").await.item(lamp).await.unwrap();
    assert_eq!(found.quantity, 7);
    fixture.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_deleted_on_the_word_of_a_clock_on_sqlite() {
    nothing_is_deleted_on_the_word_of_a_clock(StoreKind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_deleted_on_the_word_of_a_clock_on_postgres() {
    if is_there() {
        let database = Database::create();
        let store = StoreKind::Postgres(database.address().to_owned());
        nothing_is_deleted_on_the_word_of_a_clock(store).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jump_of_a_running_market_is_noticed_and_ages_nothing() {
    static DAYS_AHEAD: AtomicU32 = AtomicU32::new(0);
    let wall = Clock::new(|| Clock::SYSTEM.now().plus(DAY * DAYS_AHEAD.load(Ordering::SeqCst)));
    let fixture = open(StoreKind::Sqlite, wall).await;
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(9).await;
    let before = mailbox(&alice).await;
    let olga = fixture.stranger(Role::Operator, "olga").await;
    let steady = clock(&olga).await.steady_time.unwrap().seconds;
    DAYS_AHEAD.store(1, Ordering::SeqCst);
    eventually("the jump is noticed", async || clock(&olga).await.paused).await;
    let state = clock(&olga).await;
    assert!(state.steady_time.unwrap().seconds < steady + 3_600, "steady time has not jumped");
    let request_id = bob.request_id();
    let order = bob.buy_as(request_id.clone(), lamp, 2).await.unwrap();
    assert!(order.place_time.unwrap().seconds > steady + 80_000, "people see the wall clock");
    let status = mailbox(&alice).await;
    assert_eq!((before.pending_count, status.pending_count), (0, 1));
    assert!(status.oldest_time.unwrap().seconds > steady + 80_000, "shown as the wall time: {status:?}");
    fixture.close().await;
}

/// What the archive removes is dated by the wall clock, but not old because of a reading of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jump_makes_nothing_due_for_the_archive() {
    static DAYS_AHEAD: AtomicU32 = AtomicU32::new(0);
    let clock = Clock::new(|| Clock::SYSTEM.now().plus(DAY * DAYS_AHEAD.load(Ordering::SeqCst)));
    let adjust = |config: &mut Config| config.retention.audit = Some(DAY);
    let options =
        LocalMarketOptions { clock, issued_ago: ISSUED_AGO, adjust, ..LocalMarketOptions::default() };
    let fixture = Fixture::over(LocalMarket::open(options).await.unwrap());
    let alice = fixture.seller("alice").await;
    alice.lamp(9).await;
    alice.lamp(9).await;
    let olga = fixture.stranger(Role::Operator, "olga").await;
    DAYS_AHEAD.store(2, Ordering::SeqCst);
    let request = v1::ArchiveRequest { table: v1::ArchiveTable::Audit.into(), ..Default::default() };
    let mut due = olga.connection.admin().archive(request).await.unwrap().into_inner();
    assert!(due.message().await.unwrap().unwrap().retention.is_some());
    while let Some(message) = due.message().await.unwrap() {
        assert_eq!(message.due_count, 0, "{message:?}");
    }
    fixture.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_is_accepted_on_the_store_of_a_market_that_is_stopped() {
    let mut fixture = open(StoreKind::Sqlite, AHEAD).await;
    fixture.seller("alice").await;
    fixture.market.restart_at(Clock::SYSTEM).await.unwrap();
    let store = fixture.market.path().join("souk.db");
    let market = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_market"));
        command.args(["clock", "--output", "json"]).args(args).arg("--store").arg(&store).assert()
    };
    let said = |assert: &assert_cmd::assert::Assert| -> serde_json::Value {
        serde_json::from_slice(&assert.get_output().stdout).unwrap()
    };
    // Reading works beside a running market, changing does not.
    assert_eq!(said(&market(&["show"]).success())["paused"], true);
    let refused = market(&["accept"]).failure();
    let told = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(told.contains("leave --store out"), "{told}");
    fixture.market.stop().await.unwrap();
    assert_eq!(said(&market(&["accept"]).success())["paused"], false);
    assert_eq!(said(&market(&["show"]).success())["paused"], false);
    let mut audit = Command::new(env!("CARGO_BIN_EXE_market"));
    let listed = audit.args(["audit", "list", "--store"]).arg(&store).assert().success();
    let listed = String::from_utf8_lossy(&listed.get_output().stdout).into_owned();
    assert!(listed.contains("AcceptClock"), "{listed}");
}
