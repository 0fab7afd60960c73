//! `market admin archive`: from running markets to files, and what holds of both afterwards.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command as Process, Stdio},
    time::Duration,
};

use assert_cmd::{Command, assert::Assert};
use rusqlite::Connection;
use serde_json::Value;
use souk_certs::identity::Role;
use souk_proto::Reason;
use souk_server::config::Config;
use souk_testkit::{
    eventually,
    local::{LocalMarket, LocalMarketOptions, StoreKind},
    postgres::{self, Database},
};

use crate::fixture::{Fixture, Party, call, reason};

/// Orders are delivered long ago as far as the market can tell, see [`Archived::age_orders`].
fn keeps_little(config: &mut Config) {
    config.retention.finished_orders = Some(Duration::from_secs(3_600));
    config.retention.audit = Some(Duration::ZERO);
}

fn keeps_audit(config: &mut Config) {
    config.retention.finished_orders = Some(Duration::from_secs(3_600));
}

/// A market with delivered orders that are due, and one that is not.
struct Archived {
    fixture: Fixture,
    database: Option<Database>,
    operator: PathBuf,
    bob: Party,
    lamp: i64,
    delivered: Vec<i64>,
    open: i64,
}

impl Archived {
    async fn open(on_postgres: bool, adjust: fn(&mut Config)) -> Self {
        let database = on_postgres.then(Database::create);
        let store = database
            .as_ref()
            .map_or(StoreKind::Sqlite, |database| StoreKind::Postgres(database.address().to_owned()));
        let options = LocalMarketOptions { store, adjust, ..LocalMarketOptions::default() };
        let fixture = Fixture::over(LocalMarket::open(options).await.unwrap());
        let operator = fixture.market.identity(Role::Operator, "olga").await.unwrap().credentials.cert;
        let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
        let lamp = alice.lamp(100).await;
        let mut delivered = Vec::new();
        for _ in 0..3 {
            let order = bob.buy(lamp, 2).await.unwrap().order_id;
            call!(alice, ShipSaleRequest { order_id: order }).unwrap();
            call!(alice, DeliverSaleRequest { order_id: order }).unwrap();
            delivered.push(order);
        }
        let open = bob.buy(lamp, 1).await.unwrap().order_id;
        let archived = Self { fixture, database, operator, bob, lamp, delivered, open };
        archived.age_orders();
        archived
    }

    /// Makes the delivered orders old. Nothing else refers to a time that long ago, or to these orders.
    fn age_orders(&self) {
        let sql = "UPDATE orders SET delivered_at = 1 WHERE status = 'delivered'";
        match &self.database {
            Some(database) => drop(database.execute(sql).unwrap()),
            None => {
                let expired = "DELETE FROM request; DELETE FROM request_batch; \
                               DELETE FROM delivery WHERE placed < (SELECT max(id) FROM orders)";
                self.sqlite().execute_batch(&format!("{sql}; {expired}")).unwrap();
            }
        }
    }

    fn sqlite(&self) -> Connection {
        Connection::open(self.fixture.market.path().join("souk.db")).unwrap()
    }

    fn store(&self) -> PathBuf {
        match &self.database {
            Some(database) => PathBuf::from(database.address()),
            None => self.fixture.market.path().join("souk.db"),
        }
    }

    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.fixture.market.path().join(name);
        fs::create_dir(&folder).unwrap();
        folder
    }

    fn arguments(&self) -> Vec<String> {
        let market = self.fixture.market.address().to_string();
        let cert = self.operator.display().to_string();
        ["admin", "--market", &market, "--cert", &cert, "--output", "ndjson", "archive"]
            .map(str::to_owned)
            .into()
    }

    async fn archive(&self, arguments: &[&str]) -> Assert {
        let mut command = Command::new(env!("CARGO_BIN_EXE_market"));
        command.args(self.arguments()).args(arguments);
        tokio::task::spawn_blocking(move || command.assert()).await.unwrap()
    }

    async fn on_store(&self, arguments: &[&str]) -> Assert {
        let mut command = Command::new(env!("CARGO_BIN_EXE_market"));
        command.args(arguments).arg("--store").arg(self.store());
        tokio::task::spawn_blocking(move || command.assert()).await.unwrap()
    }

    /// Returns whether the market still has an order.
    async fn has(&self, order_id: i64) -> bool {
        match call!(self.bob, GetOrderRequest { order_id: order_id }) {
            Ok(_) => true,
            refused => {
                assert_eq!(reason(refused), Reason::OrderNotFound);
                false
            }
        }
    }
}

fn out(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

fn err(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

fn rows(assert: &Assert) -> Vec<Value> {
    out(assert).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns the file of a folder whose name begins in this way.
fn file(folder: &Path, begin: &str) -> Option<PathBuf> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    names
        .filter(|path| path.extension().is_some_and(|end| end == "ndjson"))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begin)))
}

fn order_ids(file: &Path) -> Vec<i64> {
    let text = fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["order_id"].as_i64().unwrap())
        .collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn archives_what_is_due(on_postgres: bool) {
    let archived = Archived::open(on_postgres, keeps_little).await;
    let folder = archived.folder("archive");
    let noted = out(&archived.on_store(&["audit", "head"]).await.success());
    let counted = rows(&archived.archive(&["--dry-run"]).await.success());
    assert_eq!((&counted[0]["due"], &counted[0]["pruned"]), (&3.into(), &0.into()), "{counted:?}");
    assert!(file(&folder, "").is_none());

    let done = rows(&archived.archive(&[text(&folder)]).await.success());
    assert_eq!((&done[0]["due"], &done[0]["pruned"]), (&3.into(), &3.into()), "{done:?}");
    // All entries but the newest, and those about the orders' pruning came later.
    assert_eq!(done[1]["due"], done[1]["pruned"], "{done:?}");
    let (orders, audit) = (file(&folder, "orders-").unwrap(), file(&folder, "audit-").unwrap());
    assert_eq!(order_ids(&orders), archived.delivered);
    for file in [&orders, &audit] {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    for order in archived.delivered.iter().copied() {
        assert!(!archived.has(order).await, "order {order} was archived");
    }
    assert!(archived.has(archived.open).await);
    archived.bob.rate(archived.lamp, 5).await.unwrap();

    let verified = out(&archived.on_store(&["audit", "verify"]).await.success());
    assert!(verified.contains("those up to it were archived"), "{verified}");
    let whole = ["audit", "verify", "--head", noted.trim(), "--archive", text(&audit)];
    let verified = out(&archived.on_store(&whole).await.success());
    assert!(verified.contains("and the archived ones, 1 to "), "{verified}");
    let checked = out(&archived.on_store(&["check"]).await.success());
    assert!(checked.contains("everything holds"), "{checked}");

    // The next run has what came since, and the files together are the whole log.
    let second = archived.folder("second");
    let done = rows(&archived.archive(&[text(&second)]).await.success());
    assert_eq!(done[0]["due"], 0, "{done:?}");
    assert!(file(&second, "orders-").is_none());
    let next = file(&second, "audit-").unwrap();
    let whole = ["audit", "verify", "--head", noted.trim(), "--archive", text(&next), text(&audit)];
    archived.on_store(&whole).await.success();
    let refused = err(&archived.on_store(&["audit", "verify", "--archive", text(&audit)]).await.code(5));
    assert!(refused.contains("is missing"), "{refused}");
    let first = "1:0000000000000000000000000000000000000000000000000000000000000000";
    let refused = err(&archived.on_store(&["audit", "verify", "--head", first]).await.code(1));
    assert!(refused.contains("add --archive FILE"), "{refused}");
    archived.fixture.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archive_writes_files_and_removes_what_is_in_them_on_sqlite() {
    archives_what_is_due(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archive_writes_files_and_removes_what_is_in_them_on_postgresql() {
    if postgres::is_there() {
        archives_what_is_due(true).await;
    }
}

/// A child process that is killed with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archive_killed_between_file_and_removal_loses_nothing() {
    let archived = Archived::open(false, keeps_audit).await;
    let folder = archived.folder("archive");
    // The market can't remove anything while this holds the file's write lock.
    let lock = archived.sqlite();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut command = Process::new(env!("CARGO_BIN_EXE_market"));
    command.args(archived.arguments()).arg(&folder).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = Killed(command.spawn().unwrap());
    eventually("the file is there", async || file(&folder, "orders-").is_some()).await;
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    // The file is whole, and the market has everything that is in it.
    assert_eq!(order_ids(&file(&folder, "orders-").unwrap()), archived.delivered);
    for order in archived.delivered.iter().copied() {
        assert!(archived.has(order).await, "order {order} is in the market");
    }
    lock.execute_batch("ROLLBACK").unwrap();

    let second = archived.folder("second");
    archived.archive(&[text(&second)]).await.success();
    let files = [&folder, &second].into_iter().filter_map(|folder| file(folder, "orders-"));
    let ids: BTreeSet<_> = files.flat_map(|file| order_ids(&file)).collect();
    assert_eq!(ids.into_iter().collect::<Vec<_>>(), archived.delivered);
    for order in archived.delivered.iter().copied() {
        assert!(!archived.has(order).await, "order {order} was archived");
    }
    assert!(out(&archived.on_store(&["check"]).await.success()).contains("everything holds"));
    archived.fixture.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn altered_archive_and_cut_off_beginning_are_detected() {
    let archived = Archived::open(false, keeps_little).await;
    let (store, folder) = (archived.store(), archived.folder("archive"));
    // Somebody claims that the beginning was archived.
    let copy = archived.fixture.market.path().join("cut.db");
    archived.sqlite().execute("VACUUM INTO ?", [text(&copy)]).unwrap();
    let cut = Connection::open(&copy).unwrap();
    cut.execute("INSERT INTO audit_base SELECT 1, sequence, hash FROM audit WHERE sequence = 2", []).unwrap();
    cut.execute("DELETE FROM audit WHERE sequence <= 2", []).unwrap();
    drop(cut);
    let verify = Command::new(env!("CARGO_BIN_EXE_market"))
        .args(["audit", "verify", "--store", text(&copy)])
        .assert()
        .code(5);
    assert!(err(&verify).contains("the beginning was cut off"), "{}", err(&verify));

    archived.archive(&[text(&folder)]).await.success();
    let audit = file(&folder, "audit-").unwrap();
    let kept = fs::read_to_string(&audit).unwrap();
    let verify = ["audit", "verify", "--archive", text(&audit)];
    archived.on_store(&verify).await.success();
    let without_second = kept.lines().enumerate().filter(|(number, _)| *number != 1);
    let without_second: String = without_second.map(|(_, line)| format!("{line}\n")).collect();
    for (altered, told) in [
        (kept.replacen("SellItem", "BuyItem", 1), "not as it was written"),
        (without_second, "is missing"),
        (kept.lines().take(2).map(|line| format!("{line}\n")).collect(), "is missing"),
    ] {
        fs::write(&audit, altered).unwrap();
        let found = err(&archived.on_store(&verify).await.code(5));
        assert!(found.contains(told), "{told}: {found}");
    }
    fs::write(&audit, "{}\n").unwrap();
    let refused = err(&archived.on_store(&verify).await.code(1));
    assert!(refused.contains("no archived audit entry"), "{refused}");
    assert!(store.exists());
    archived.fixture.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn market_without_a_retention_keeps_everything() {
    let archived = Archived::open(false, |_| ()).await;
    let folder = archived.folder("archive");
    let told = err(&archived.archive(&[text(&folder)]).await.success());
    for setting in ["retention.finished_orders_days", "retention.audit_days"] {
        assert!(told.contains(setting), "{told}");
    }
    assert!(file(&folder, "").is_none());
    let order_ids = archived.delivered.clone();
    let olga = archived.fixture.stranger(Role::Operator, "olga").await;
    let pruned = call!(olga, PruneArchivedRequest { order_ids: order_ids }).unwrap();
    assert_eq!((pruned.pruned_order_count, pruned.audit_base), (0, None));
    let other = souk_proto::v1::AuditPosition { sequence: 1, hash: "00".into() };
    assert_eq!(
        reason(call!(olga, PruneArchivedRequest { audit_through: Some(other) })),
        Reason::InvalidField
    );
    assert_eq!(reason(call!(olga, PruneArchivedRequest { order_ids: vec![1; 1_001] })), Reason::InvalidField);
    assert!(archived.has(archived.delivered[0]).await);
    archived.fixture.close().await;
}

/// The hash proves that the caller has the entry, and so the ones before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_log_is_pruned_only_up_to_an_entry_that_the_caller_has() {
    let archived = Archived::open(false, keeps_little).await;
    let olga = archived.fixture.stranger(Role::Operator, "olga").await;
    for (sequence, hash) in [(2, "ab".repeat(32)), (1_000, "ab".repeat(32)), (-1, "ab".repeat(32))] {
        let through = souk_proto::v1::AuditPosition { sequence, hash };
        let pruned = call!(olga, PruneArchivedRequest { audit_through: Some(through) });
        if sequence > 0 {
            assert_eq!(reason(pruned), Reason::InvalidField);
        } else {
            assert_eq!(pruned.unwrap().pruned_audit_count, 0);
        }
    }
    archived.on_store(&["audit", "verify"]).await.success();
    archived.fixture.close().await;
}
