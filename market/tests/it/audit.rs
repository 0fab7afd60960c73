//! `market audit` on the store of a market that has traded.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use rusqlite::Connection;
use souk_testkit::{
    actor::draft,
    local::{LocalMarket, LocalMarketOptions, StoreKind},
};

use crate::{
    fixture::{Fixture, registered},
    till::{Raw, by},
};

/// Opens a market that has traded and keeps running.
async fn traded() -> LocalMarket {
    let market = LocalMarket::open(LocalMarketOptions::default()).await.unwrap();
    let (alice, bob) = registered(&market).await;
    let lamp = alice.sell(draft("Lamp", "home/light", 1_250, 10)).await.unwrap();
    bob.buy(lamp.item_id, 2).await.unwrap();
    bob.rate(lamp.item_id, 5).await.unwrap();
    market
}

fn audit(store: &Path, args: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = Command::new(env!("CARGO_BIN_EXE_market"));
    command.arg("audit").args(args).arg("--store").arg(store).assert()
}

fn stdout(assert: &assert_cmd::assert::Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

/// Copies the store and tampers with the copy.
async fn tampered(market: &LocalMarket, sql: &str) -> PathBuf {
    let copy = market.path().join("tampered.db");
    let _ = std::fs::remove_file(&copy);
    let whole = Connection::open(market.path().join("souk.db")).unwrap();
    whole.execute("VACUUM INTO ?", [copy.to_str().unwrap()]).unwrap();
    assert_eq!(Connection::open(&copy).unwrap().execute(sql, []).unwrap(), 1, "{sql}");
    copy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_of_a_running_market_is_read_and_verified() {
    let market = traded().await;
    let store = market.path().join("souk.db");
    let listed = stdout(&audit(&store, &["list"]).success());
    let did: Vec<_> = listed
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["did"].clone())
        .collect();
    assert_eq!(did, ["RegisterSeller", "RegisterBuyer", "SellItem", "BuyItem", "RateItem"]);
    assert!(listed.contains(r#""from":"127.0.0.1""#), "{listed}");
    for secret in ["Bearer", "eyJ", "PRIVATE", "Lamp"] {
        assert!(!listed.contains(secret), "{secret} in {listed}");
    }
    let head = stdout(&audit(&store, &["head"]).success());
    let verified = stdout(&audit(&store, &["verify", "--head", head.trim()]).success());
    assert!(verified.contains("5 entries"), "{verified}");
    assert_eq!(
        stdout(&audit(&store, &["list", "--after", "3", "--limit", "1"]).success()).lines().count(),
        1
    );
    market.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_tampering_with_the_log_is_detected() {
    let market = traded().await;
    let head = stdout(&audit(&market.path().join("souk.db"), &["head"]).success());
    for sql in [
        "UPDATE audit SET line = replace(line, 'BuyItem', 'TestEvent') WHERE sequence = 4",
        "UPDATE audit SET hash = zeroblob(32) WHERE sequence = 2",
        "DELETE FROM audit WHERE sequence = 3",
        "DELETE FROM audit WHERE sequence = 1",
        "INSERT INTO audit SELECT 6, line, hash FROM audit WHERE sequence = 5",
        "INSERT INTO audit SELECT 0, line, hash FROM audit WHERE sequence = 3",
        "INSERT INTO audit SELECT -5, line, hash FROM audit WHERE sequence = 3",
    ] {
        let copy = tampered(&market, sql).await;
        let found = audit(&copy, &["verify"]).code(5);
        let stderr = String::from_utf8_lossy(&found.get_output().stderr).into_owned();
        assert!(stderr.contains("tampered with"), "{sql}: {stderr}");
    }
    // A missing end is detected only with a head that was noted elsewhere.
    let copy = tampered(&market, "DELETE FROM audit WHERE sequence = 5").await;
    audit(&copy, &["verify"]).success();
    audit(&copy, &["verify", "--head", head.trim()]).code(5);
    market.close().await.unwrap();
}

/// Returns what the log's entries say about a till's lines.
fn synced(fixture: &Fixture) -> Vec<String> {
    let listed = stdout(&audit(&fixture.market.path().join("souk.db"), &["list"]).success());
    listed.lines().filter(|line| line.contains("SyncInventory")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_till_lines_add_nothing_to_the_log() {
    let fixture = Fixture::open(StoreKind::Sqlite).await;
    let alice = fixture.seller("alice").await;
    let lamp = alice.lamp(5).await;
    let (mut shop, _) = Raw::begin(&alice, 0).await;
    // A refused line gets an entry as well.
    shop.answers_to(vec![by(1, lamp, 2), by(2, lamp, -100)]).await;
    let once = synced(&fixture);
    assert!(!once.is_empty());
    shop.answers_to(vec![by(1, lamp, 2), by(2, lamp, -100)]).await;
    let (mut shop, _) = Raw::begin(&alice, 0).await;
    shop.answers_to(vec![by(2, lamp, -100)]).await;
    assert_eq!(synced(&fixture), once);
    // A new line gets an entry, even if repetitions come with it.
    shop.answers_to(vec![by(2, lamp, -100), by(3, lamp, 1)]).await;
    assert_eq!(synced(&fixture).len(), once.len() + 1);
    audit(&fixture.market.path().join("souk.db"), &["verify"]).success();
    fixture.close().await;
}

#[test]
fn file_that_is_not_a_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nothing.db");
    let refused = audit(&file, &["verify"]).failure();
    let stderr = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(stderr.contains("nothing.db"), "{stderr}");
    assert!(!file.exists(), "reading makes nothing");
    audit(&file, &["verify", "--head", "what"]).code(2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_leaves_is_no_failure() {
    let market = traded().await;
    let store = market.path().join("souk.db").display().to_string();
    for args in [
        &["audit", "list", "--store", &store][..],
        &["audit", "verify", "--store", &store],
        &["check", "--store", &store],
        &["serve", "--print-config"],
        &["--help"],
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_market"));
        let piped = std::process::Stdio::piped;
        let mut child = command.args(args).stdout(piped()).stderr(piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.code() == Some(0) && !errors.contains("panicked"), "{args:?}: {errors}");
    }
}
