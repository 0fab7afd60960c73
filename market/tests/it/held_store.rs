//! A market whose store is held up by others still ends in time, and answers everybody before.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use souk_certs::identity::Role;
use souk_client::{ClientConfig, Connection, Timings, timing::CallTiming};
use souk_testkit::{
    local::{LocalMarket, LocalMarketOptions, StoreKind},
    postgres::{Database, is_there},
};
use tokio::task::JoinSet;
use tonic::Code;

use crate::{
    fixture::{PATIENCE, Party, draft, eventually},
    observing::{free_port, get_at},
    site::Site,
};

/// G10: the drain takes at most this long, whatever the store does.
const DRAIN_MAX: Duration = Duration::from_secs(10);
const BUYERS: usize = 2;
const CALLS_OF_EACH: usize = 225;

/// Counts the first attempts of purchases that the market itself has answered as unavailable.
#[derive(Clone, Default)]
struct Answered(Arc<AtomicUsize>);

impl Answered {
    fn timings(&self) -> Timings {
        let count = Arc::clone(&self.0);
        Timings::new(move |call: &CallTiming| {
            let first = &call.attempts[0];
            let by_market = first.request_id.is_some() && first.code == Some(Code::Unavailable);
            if call.method == "BuyerService/BuyItem" && by_market {
                count.fetch_add(1, Ordering::SeqCst);
            }
        })
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn buy(buying: &mut JoinSet<bool>, connection: &Connection, lamp: i64, calls: usize) {
    for _ in 0..calls {
        let bob = Party { connection: connection.with_timeout(Duration::from_secs(30)) };
        buying.spawn(async move { bob.buy(lamp, 1).await.is_ok() });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_a_market_whose_store_another_process_holds() {
    let mut site = Site::new();
    let admin = free_port();
    let mut command = site.serve();
    command.args(["--admin-listen", &admin.to_string()]);
    let mut process = Site::start_as(&mut command);
    let address = process.address;
    let alice = site.party("alice", Role::Seller, &process).await;
    alice.register_as_seller("alice").await.unwrap();
    let lamp = alice.lamp(1_000).await;
    let answered = Answered::default();
    let mut connections = Vec::new();
    for number in 0..BUYERS {
        let party = site.party(&format!("buyer{number}"), Role::Buyer, &process).await;
        party.register_as_buyer(&format!("buyer {number}")).await.unwrap();
        let market = process.address.to_string().parse().unwrap();
        let files = site.pki.find(&format!("buyer{number}")).unwrap().files();
        let config = ClientConfig { timings: Some(answered.timings()), ..ClientConfig::new(market, files) };
        connections.push(Connection::open(&config).await.unwrap());
    }
    // What an operator's `sqlite3` may do at any time.
    let holder = rusqlite::Connection::open(site.path("souk.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut buying = JoinSet::new();
    for connection in &connections {
        buy(&mut buying, connection, lamp, CALLS_OF_EACH);
    }
    // Some are in the batch that waits for the store, all others in the queue.
    eventually("calls are queued", async || {
        let figures = get_at(admin, "/metrics").await;
        let queued = figures.lines().find_map(|line| line.strip_prefix("souk_ledger_queued_commands "));
        queued.is_some_and(|queued| queued.trim().parse::<usize>().unwrap() > 150)
    })
    .await;

    let began = Instant::now();
    process.signal("-TERM");
    let ended = tokio::task::spawn_blocking(move || process.child.wait().unwrap());
    let status = tokio::time::timeout(PATIENCE, ended).await.expect("it ends at all").unwrap();
    let took = began.elapsed();
    assert!(status.success(), "{status}");
    assert!(took < DRAIN_MAX, "{took:?}");
    drop(holder);
    // The client library would go on trying for its whole deadline; the market is there again before.
    let process = site.start_at(address);
    let mut bought = 0;
    while let Some(done) = buying.join_next().await {
        bought += usize::from(done.unwrap());
    }
    assert_eq!(answered.count(), BUYERS * CALLS_OF_EACH, "each call was answered before the end");
    let alice = site.party("alice", Role::Seller, &process).await;
    let left = alice.item(lamp).await.unwrap().quantity;
    assert_eq!(1_000 - left, bought as i64, "each purchase took effect once, when it was retried");
    println!("calls={} answered={} took={took:?}", BUYERS * CALLS_OF_EACH, answered.count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn market_on_a_frozen_database_ends_in_time() {
    if !is_there() {
        return;
    }
    let database = Database::on_its_own_server();
    let store = StoreKind::Postgres(database.address().to_owned());
    let market =
        LocalMarket::open(LocalMarketOptions { store, ..LocalMarketOptions::default() }).await.unwrap();
    let config = market.identity(Role::Seller, "Alice").await.unwrap();
    let alice = Party { connection: Connection::open(&config).await.unwrap() };
    alice.register_as_seller("Alice").await.unwrap();
    let lamp = alice.lamp(5).await;
    database.server().freeze().unwrap();
    let mut pricing = JoinSet::new();
    for price in 1..=50 {
        let alice = Party { connection: alice.connection.clone() };
        pricing.spawn(async move { alice.reprice_as(alice.request_id(), lamp, price).await.is_ok() });
    }
    // In the database's hands, or in the queue: either way the market waits.
    tokio::task::yield_now().await;
    let began = Instant::now();
    market.close().await.unwrap();
    let took = began.elapsed();
    database.server().thaw().unwrap();
    assert!(took < DRAIN_MAX, "{took:?}");
    while let Some(done) = pricing.join_next().await {
        assert!(!done.unwrap(), "nothing is acknowledged");
    }
}

/// A market that can't commit gets no calls, so it has to find out by itself that it can again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn market_whose_store_another_process_holds_is_not_ready() {
    let mut site = Site::new();
    let admin = free_port();
    let mut command = site.serve();
    command.args(["--admin-listen", &admin.to_string()]);
    let process = Site::start_as(&mut command);
    let alice = site.party("alice", Role::Seller, &process).await;
    alice.register_as_seller("alice").await.unwrap();
    let ready = async || get_at(admin, "/readyz").await;
    eventually("the market is ready", async || ready().await.starts_with("HTTP/1.1 200")).await;
    let holder = rusqlite::Connection::open(site.path("souk.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let hasty = Party { connection: alice.connection.with_timeout(Duration::from_secs(1)) };
    hasty.sell(draft("Lamp", "home/light", 1_250, 5)).await.unwrap_err();
    eventually("the market is not ready", async || ready().await.starts_with("HTTP/1.1 503")).await;
    let answer = ready().await;
    assert!(answer.contains("store: another process holds the write lock"), "{answer}");
    assert!(get_at(admin, "/livez").await.starts_with("HTTP/1.1 200"), "a restart would not help");
    assert!(get_at(admin, "/metrics").await.contains("souk_store_state 4"));
    holder.execute_batch("ROLLBACK").unwrap();
    // Nobody calls meanwhile.
    eventually("the market is ready again", async || ready().await.starts_with("HTTP/1.1 200")).await;
    process.end().await;
}
