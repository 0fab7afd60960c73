//! docs/operating.md describes every metric of a running market, and no other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use souk_certs::identity::Role;
use souk_server::config::Config;
use souk_testkit::{
    actor::{Actor, draft},
    eventually,
    local::{LocalMarket, LocalMarketOptions, StoreKind},
    postgres::{Database, is_there},
};

use crate::observing::{Port, get_from, pick};

static ON_MEMORY: Port = Port::new();
static ON_SQLITE: Port = Port::new();
static ON_POSTGRES: Port = Port::new();
static WITH_BACKLOG: Port = Port::new();

/// Returns the types of the described metrics that a market on a store has, by name.
fn described(store: &str) -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/operating.md");
    let text = fs::read_to_string(path).unwrap();
    let rows = text.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    // An empty first and last cell are outside of the outer bars.
    let rows = rows.filter(|cells| cells.len() == 8 && cells[1].starts_with('`'));
    let is_there = |only_on: &str| match only_on {
        "" => true,
        "Linux" => cfg!(target_os = "linux"),
        "SQL" => store != "memory",
        only => only == store,
    };
    let rows = rows.filter(|cells| is_there(cells[4]));
    rows.map(|cells| (cells[1].trim_matches('`').to_owned(), cells[2].to_owned())).collect()
}

/// Returns the types of the metrics in a scrape, by name.
fn scraped(text: &str) -> BTreeMap<String, String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let types = types.map(|line| line.split_once(' ').unwrap());
    let named = |(name, kind): (&str, &str)| {
        let suffix = if kind == "counter" { "_total" } else { "" };
        (format!("{name}{suffix}"), kind.to_owned())
    };
    types.map(named).collect()
}

async fn assert_described(market: LocalMarket, port: &Port, store: &str) {
    // The histogram is there once a call has been made.
    Actor::enter(&market, Role::Seller, "Alice").await.unwrap().register(None).await.unwrap();
    let text = get_from(port, "/metrics").await;
    let (scraped, described) = (scraped(&text), described(store));
    let names = |of: &BTreeMap<String, String>| of.keys().cloned().collect::<BTreeSet<_>>();
    let missing: Vec<_> = names(&scraped).difference(&names(&described)).cloned().collect();
    let gone: Vec<_> = names(&described).difference(&names(&scraped)).cloned().collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "docs/operating.md lacks {missing:?}, and describes {gone:?}, which a market on {store} does not have"
    );
    assert_eq!(scraped, described, "of another type");
    market.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_of_a_market_in_memory_is_described() {
    pick(&ON_MEMORY);
    let adjust = |config: &mut Config| config.server.admin_listen = ON_MEMORY.get().copied();
    let options = LocalMarketOptions { store: StoreKind::Memory, adjust, ..LocalMarketOptions::default() };
    assert_described(LocalMarket::open(options).await.unwrap(), &ON_MEMORY, "memory").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_of_a_market_on_sqlite_is_described() {
    pick(&ON_SQLITE);
    let adjust = |config: &mut Config| config.server.admin_listen = ON_SQLITE.get().copied();
    let options = LocalMarketOptions { adjust, ..LocalMarketOptions::default() };
    assert_described(LocalMarket::open(options).await.unwrap(), &ON_SQLITE, "SQLite").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_of_a_market_on_postgresql_is_described() {
    if !is_there() {
        return;
    }
    pick(&ON_POSTGRES);
    let database = Database::create();
    let store = StoreKind::Postgres(database.address().to_owned());
    let adjust = |config: &mut Config| config.server.admin_listen = ON_POSTGRES.get().copied();
    let options = LocalMarketOptions { store, adjust, ..LocalMarketOptions::default() };
    assert_described(LocalMarket::open(options).await.unwrap(), &ON_POSTGRES, "PostgreSQL").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_events_and_open_files_are_measured() {
    pick(&WITH_BACKLOG);
    let adjust = |config: &mut Config| config.server.admin_listen = WITH_BACKLOG.get().copied();
    let options = LocalMarketOptions { adjust, ..LocalMarketOptions::default() };
    let market = LocalMarket::open(options).await.unwrap();
    let figure = async |name: &str| {
        let text = get_from(&WITH_BACKLOG, "/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name}: {text}")).parse::<f64>().unwrap()
    };
    let alice = Actor::enter(&market, Role::Seller, "Alice").await.unwrap();
    alice.register(None).await.unwrap();
    let lamp = alice.sell(draft("Lamp", "home", 100, 5)).await.unwrap();
    let bob = Actor::enter(&market, Role::Buyer, "Bob").await.unwrap();
    bob.register(None).await.unwrap();
    bob.buy(lamp.item_id, 1).await.unwrap();
    eventually("the order is counted", async || figure("souk_pending_order_events").await == 1.0).await;
    eventually("it has an age", async || figure("souk_pending_order_event_age_seconds").await >= 1.0).await;
    assert_eq!(figure("souk_fan_out_events").await, 0.0);
    // A new market begins with a sweep.
    eventually("a sweep is done", async || figure("souk_rank_sweeps_total").await == 1.0).await;
    assert!(figure("souk_connections").await >= 2.0);
    assert_eq!(figure("souk_ledger_queue_limit").await, 4_096.0);
    assert!(figure("process_open_fds").await > 10.0);
    assert!(figure("process_open_fds").await <= figure("process_max_fds").await);
    assert!(figure("process_cpu_seconds_total").await > 0.0);
    market.close().await.unwrap();
}
