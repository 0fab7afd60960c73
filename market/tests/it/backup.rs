//! `market backup`, `market restore` and `market check`, on markets that trade.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use assert_cmd::{Command, assert::Assert};
use rusqlite::Connection;
use souk_certs::identity::Role;
use souk_proto::v1;
use souk_testkit::{
    actor::{Actor, draft},
    local::{LocalMarket, LocalMarketOptions, StoreKind},
    postgres::{self, Database},
};
use tokio_util::sync::CancellationToken;

use crate::fixture::registered;

/// A market with a seller, a buyer and an item.
struct Traded {
    market: LocalMarket,
    bob: Actor,
    lamp: i64,
}

async fn traded(store: StoreKind) -> Traded {
    let market =
        LocalMarket::open(LocalMarketOptions { store, ..LocalMarketOptions::default() }).await.unwrap();
    let (alice, bob) = registered(&market).await;
    let lamp = alice.sell(draft("Lamp", "home/light", 1_250, 1_000_000)).await.unwrap().item_id;
    alice.sell(draft("Chair", "home", 4_900, 3)).await.unwrap();
    bob.buy(lamp, 2).await.unwrap();
    bob.rate(lamp, 5).await.unwrap();
    Traded { market, bob, lamp }
}

impl Traded {
    fn store(&self) -> PathBuf {
        self.market.path().join("souk.db")
    }
}

fn market(args: &[&str], store: &Path) -> Assert {
    Command::new(env!("CARGO_BIN_EXE_market")).args(args).arg("--store").arg(store).assert()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn printed(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

fn complaint(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

/// Buys until cancelled, and counts.
async fn keep_buying(bob: Actor, lamp: i64, bought: Arc<AtomicUsize>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        bob.buy(lamp, 1).await.unwrap();
        bought.fetch_add(1, Ordering::Relaxed);
    }
}

/// G12: a backup taken during trade is one consistent point, and trade goes on meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn backup_during_trade_is_a_consistent_point() {
    let traded = traded(StoreKind::Sqlite).await;
    let (store, copy) = (traded.store(), traded.market.path().join("copy.db"));
    let (bought, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
    let buying = tokio::spawn(keep_buying(traded.bob, traded.lamp, Arc::clone(&bought), stop.clone()));
    while bought.load(Ordering::Relaxed) < 50 {
        tokio::task::yield_now().await;
    }
    let (from, to) = (store.clone(), copy.clone());
    tokio::task::spawn_blocking(move || market(&["backup", text(&to)], &from).success()).await.unwrap();
    let by_then = bought.load(Ordering::Relaxed);
    while bought.load(Ordering::Relaxed) < by_then + 10 {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    buying.await.unwrap();
    let checked = printed(&market(&["check"], &copy).success());
    assert!(checked.contains("everything holds"), "{checked}");
    let orders: u32 = Connection::open(&copy)
        .unwrap()
        .query_row("SELECT count(*) FROM orders", [], |row| row.get(0))
        .unwrap();
    assert!(
        (51..=by_then + 2).contains(&(orders as usize)),
        "{orders} orders in the copy, {by_then} bought by then"
    );
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // The running market holds as well.
    assert!(printed(&market(&["check"], &store).success()).contains("search index agrees"));
    let refused = market(&["backup", text(&copy)], &store).failure().code(1);
    assert!(complaint(&refused).contains("exists; choose another file"), "{}", complaint(&refused));
    assert!(!traded.market.path().join("copy.db.partial").exists());
}

/// Time between a backup and its restore is not age, and no jump either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_market_goes_on_at_the_steady_time_of_the_backup() {
    let mut traded = traded(StoreKind::Sqlite).await;
    let (store, copy) = (traded.store(), traded.market.path().join("copy.db"));
    market(&["backup", text(&copy)], &store).success();
    // Stopping writes how far the clock has come since.
    traded.market.stop().await.unwrap();
    let clock = |path: &Path| {
        let shown = market(&["clock", "show", "--output", "json"], path).success();
        serde_json::from_slice::<serde_json::Value>(&shown.get_output().stdout).unwrap()
    };
    let of_backup = clock(&copy);
    assert_ne!(clock(&store)["steady_time"], of_backup["steady_time"]);
    market(&["restore", text(&copy), "--replace"], &store).success();
    assert_eq!(clock(&store), of_backup);
    traded.market.start().await.unwrap();
    traded.market.stop().await.unwrap();
    let after = clock(&store);
    assert_eq!(after["paused"], false, "{after}");
    assert!(after["steady_time"].as_str() > of_backup["steady_time"].as_str(), "{after} after {of_backup}");
}

/// A restored market continues at numbers that it has never assigned, and keeps what it replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_market_assigns_no_number_twice() {
    let mut traded = traded(StoreKind::Sqlite).await;
    let (store, copy) = (traded.store(), traded.market.path().join("copy.db"));
    market(&["backup", text(&copy)], &store).success();
    let lost = traded.bob.buy(traded.lamp, 1).await.unwrap();
    let refused = market(&["restore", text(&copy), "--replace"], &store).failure().code(1);
    assert!(complaint(&refused).contains("another market has"), "{}", complaint(&refused));
    traded.market.stop().await.unwrap();
    let refused = market(&["restore", text(&copy)], &store).failure().code(1);
    assert!(complaint(&refused).contains("--replace"), "{}", complaint(&refused));
    let restored = printed(&market(&["restore", text(&copy), "--replace"], &store).success());
    assert!(restored.contains("1 orders"), "{restored}");
    assert!(printed(&market(&["check"], &store).success()).contains("everything holds"));
    traded.market.start().await.unwrap();
    let bob = Actor::enter(&traded.market, Role::Buyer, "Bob").await.unwrap();
    let bought = bob.buy(traded.lamp, 1).await.unwrap();
    assert!(bought.order_id > lost.order_id + 100_000, "{} after {}", bought.order_id, lost.order_id);
    let alice = Actor::enter(&traded.market, Role::Seller, "Alice").await.unwrap();
    let mailbox = alice.mailbox().await.unwrap();
    assert!(mailbox.last_sequence > 100_000, "{mailbox:?}");
    let searched =
        bob.search(v1::SearchItemRequest { query: "lamp".into(), ..Default::default() }).await.unwrap();
    assert_eq!(searched.items.len(), 1);
    let kept: Vec<_> = std::fs::read_dir(traded.market.path())
        .unwrap()
        .filter(|entry| {
            entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("souk.db.replaced-")
        })
        .collect();
    assert!(!kept.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_or_foreign_backup_is_not_restored() {
    let mut traded = traded(StoreKind::Sqlite).await;
    let (store, copy) = (traded.store(), traded.market.path().join("copy.db"));
    market(&["backup", text(&copy)], &store).success();
    traded.market.stop().await.unwrap();
    let mut bytes = std::fs::read(&copy).unwrap();
    // In the middle of the file, so that it still opens.
    let middle = bytes.len() / 2 / 4_096 * 4_096;
    bytes[middle..middle + 64].fill(0xa5);
    std::fs::write(&copy, bytes).unwrap();
    let refused = market(&["restore", text(&copy), "--replace"], &store).failure().code(1);
    assert!(complaint(&refused).contains("damaged"), "{}", complaint(&refused));
    let foreign = traded.market.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    let refused = market(&["restore", text(&foreign), "--replace"], &store).failure().code(1);
    assert!(complaint(&refused).contains("another program"), "{}", complaint(&refused));
    assert!(printed(&market(&["check"], &store).success()).contains("everything holds"));
}

/// Each of these changes breaks another condition, and the check names it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_names_what_does_not_hold() {
    let traded = traded(StoreKind::Sqlite).await;
    let (store, copy) = (traded.store(), traded.market.path().join("copy.db"));
    for (sql, named) in [
        ("UPDATE item SET quantity = quantity - 1 WHERE id = 1", "supplied = sold"),
        ("UPDATE orders SET total_minor = 1", "total = price"),
        ("UPDATE orders SET seller = buyer", "seller of its item"),
        ("UPDATE orders SET buyer = 99", "by a party"),
        ("UPDATE party SET number = 1", "number of its own"),
        ("UPDATE orders SET cancelled_at = 1", "times of its status"),
        ("UPDATE item SET rating_count = 7 WHERE id = 1", "ratings are those"),
        ("UPDATE sales SET units = units + 1", "sums of its sales"),
        ("UPDATE total SET parties = 0", "the totals are"),
        ("UPDATE delivery SET event = 999", "delivery has its event"),
        ("UPDATE delivery SET placed = 999", "delivery that refers to an order has it"),
        ("DELETE FROM request_batch", "stored outcome is noted with its batch"),
        ("INSERT INTO purchase (buyer, item, orders) VALUES (999, 1, 7)", "purchases of each buyer"),
        ("DELETE FROM mailbox", "one mailbox"),
        ("UPDATE delivery SET sequence = 99", "assigned its sequence"),
        ("UPDATE mailbox SET acknowledged = 99", "acknowledges more"),
        ("UPDATE counter SET value = 0 WHERE name = 'order'", "beyond the last one assigned"),
        ("UPDATE counter SET value = 0 WHERE name = 'feed'", "end of the feed"),
        ("UPDATE audit SET line = replace(line, 'Bob', 'Eve')||' ' WHERE sequence = 3", "I9"),
    ] {
        let _ = std::fs::remove_file(&copy);
        market(&["backup", "--quiet", text(&copy)], &store).success();
        let tampered = Connection::open(&copy).unwrap();
        tampered.pragma_update(None, "ignore_check_constraints", true).unwrap();
        assert!(tampered.execute(sql, []).unwrap() > 0, "{sql}");
        drop(tampered);
        let checked = printed(&market(&["check"], &copy).failure().code(5));
        let failed: Vec<_> = checked.lines().filter(|line| line.starts_with("FAILED")).collect();
        assert!(failed.iter().any(|line| line.contains(named)), "{sql}: {checked}");
    }
}

/// Whatever is damaged, and whichever step meets it, the exit code is that of damage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_reports_every_kind_of_damage_as_damage() {
    type Harm = fn(&mut Vec<u8>);
    let kinds: [(&str, Harm); 10] = [
        ("no database", |bytes| *bytes = b"all my notes".repeat(1_000)),
        ("empty", Vec::clear),
        ("one byte", |bytes| bytes.truncate(1)),
        ("half a page", |bytes| bytes.truncate(2_048)),
        ("one page", |bytes| bytes.truncate(4_096)),
        ("half", |bytes| bytes.truncate(bytes.len() / 2)),
        ("another beginning", |bytes| bytes[..16].fill(b'x')),
        ("a wrong page size", |bytes| bytes[16..18].copy_from_slice(&[3, 7])),
        ("a damaged schema", |bytes| bytes[100..2_000].fill(0xa5)),
        ("damaged tables", |bytes| {
            let second = 4_096;
            bytes[second..].chunks_mut(4_096).for_each(|page| page[..64].fill(0xa5));
        }),
    ];
    let traded = traded(StoreKind::Sqlite).await;
    let (store, copy) = (traded.store(), traded.market.path().join("copy.db"));
    market(&["backup", "--quiet", text(&copy)], &store).success();
    let intact = std::fs::read(&copy).unwrap();
    for (kind, harm) in kinds {
        let mut bytes = intact.clone();
        harm(&mut bytes);
        std::fs::write(&copy, bytes).unwrap();
        let checked = market(&["check"], &copy);
        let (said, told) = (printed(&checked), complaint(&checked));
        assert_eq!(checked.get_output().status.code(), Some(5), "{kind}: {said}{told}");
        assert!(said.contains("FAILED  file   the pages of the file are intact"), "{kind}: {said}");
        assert!(said.contains("restore a backup"), "{kind}: {said}");
    }
    std::fs::write(&copy, &intact).unwrap();
    Connection::open(&copy).unwrap().execute_batch("DROP TABLE rating").unwrap();
    assert!(printed(&market(&["check"], &copy).failure().code(5)).contains("no such table"));
    let foreign = traded.market.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    market(&["check"], &foreign).failure().code(1);
    market(&["check"], &traded.market.path().join("missing.db")).failure().code(1);
}

/// Each mistake that a newcomer may make is named, together with what to do.
#[test]
fn wrong_files_are_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let store = path("souk.db");
    drop(souk_store::sqlite::open(&store).unwrap());
    let (missing, nowhere, to) = (path("missing.db"), path("nowhere/copy.db"), path("copy.db"));
    for arguments in [["check"].as_slice(), &["audit", "verify"], &["clock", "show"], &["backup", text(&to)]]
    {
        for (store, says) in
            [(&missing, "does not exist; check the path"), (&path(""), "is a folder; name the file")]
        {
            let told = complaint(&market(arguments, store).failure().code(1));
            assert!(told.contains(says), "{arguments:?}: {told}");
        }
    }
    for (arguments, store, says) in [
        (["backup", text(&nowhere)], &store, "check that its folder exists"),
        (["backup", text(&store)], &store, "exists; choose another file"),
        (["restore", text(&missing)], &to, "does not exist; check the path"),
        (["restore", text(&store)], &nowhere, "check that its folder exists"),
        (["restore", text(&store)], &path(""), "is a folder; name a file"),
    ] {
        let told = complaint(&market(&arguments, store).failure().code(1));
        assert!(told.contains(says), "{arguments:?}: {told}");
    }
    assert!(!to.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_reads_a_database_of_postgresql() {
    if !postgres::is_there() {
        return;
    }
    let database = Database::create();
    let traded = traded(StoreKind::Postgres(database.address().to_owned())).await;
    let address = PathBuf::from(database.address());
    let checked = printed(&market(&["check"], &address).success());
    assert!(checked.contains("everything holds"), "{checked}");
    database.execute("UPDATE orders SET cancelled_at = 1").unwrap();
    let checked = printed(&market(&["check"], &address).failure().code(5));
    assert!(checked.contains("FAILED  I1     each order has the times of its status: 1"), "{checked}");
    let refused = market(&["backup", "copy.db"], &address).failure().code(1);
    assert!(complaint(&refused).contains("pg_dump"), "{}", complaint(&refused));
    traded.market.close().await.unwrap();
}
