//! Commands that run for long, while the market goes away and comes back.

use std::fs;

use serde_json::{Value, json};
use souk_certs::identity::Role;
use souk_client::{Admin, Connection};
use souk_testkit::{actor::Actor, eventually, gate::Gate};

use super::{buy, list_lamp, market, registered};

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_outlives_a_suspension_and_an_outage() {
    let market = market().await;
    let mut gate = Gate::open(market.address()).await;
    let mut alice = registered(&market).await;
    let lamp = list_lamp(&alice).await;
    alice.set("SOUK_MARKET", gate.address.to_string());
    let mut listener = alice.start_with_errors(&["listen", "--output", "ndjson"]);
    assert!(listener.error_line().await.contains("following your mailbox"));
    assert!(listener.error_line().await.contains("everything"));
    let olga = Actor::enter(&market, Role::Operator, "Olga").await.expect("an operator");
    let admin = Admin::new(olga.connection.clone());
    let id = market.identity(Role::Seller, "alice").await.expect("a certificate");
    let id = Connection::open(&id).await.expect("connected").party();
    admin.suspend(id, "a test").await.expect("suspended");
    assert!(listener.error_line().await.starts_with("disconnected ("));
    admin.reinstate(id).await.expect("reinstated");
    assert_eq!(listener.error_line().await, "reconnected");
    assert!(listener.error_line().await.contains("everything"));
    gate.shut().await;
    assert!(listener.error_line().await.starts_with("disconnected ("));
    buy(&market, lamp, 1).await;
    gate.reopen_after(2).await;
    assert_eq!(listener.error_line().await, "reconnected");
    assert!(listener.line().await.contains("order_placed"));
    assert_eq!(listener.interrupt().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_outlives_an_outage() {
    const ROWS: usize = 20_000;
    /// More failed attempts than after which a single call gives up.
    const TURNED_AWAY: usize = 6;
    let market = market().await;
    let mut gate = Gate::open(market.address()).await;
    let mut alice = registered(&market).await;
    let file = alice.home.path().join("items.csv");
    let rows = (0..ROWS).map(|n| format!("L-{n},Lantern {n},home/light,9.99,GBP,5\n"));
    let text = ["sku,name,category,price,currency,quantity\n".to_owned()].into_iter().chain(rows);
    fs::write(&file, text.collect::<String>()).expect("written");
    alice.set("SOUK_MARKET", gate.address.to_string());
    let file = file.display().to_string();
    let mut import = alice.start_with_errors(&["import", &file, "--output", "ndjson"]);
    // It has begun when the first items are on the market.
    let mut other = registered(&market).await;
    other.set("SOUK_MARKET", market.address().to_string());
    eventually("the import has begun", async || {
        let items = other.run(&["items", "--output", "json"]).await.json();
        items.as_array().is_some_and(|items| !items.is_empty())
    })
    .await;
    gate.shut().await;
    assert!(import.error_line().await.starts_with("disconnected ("));
    gate.reopen_after(TURNED_AWAY).await;
    assert_eq!(import.error_line().await, "reconnected");
    let tally: Value = serde_json::from_str(&import.line().await).expect("JSON");
    assert_eq!((&tally["rows"], &tally["failed_count"]), (&json!(ROWS), &json!(0)), "{tally}");
    assert!(tally["unchanged_count"].as_u64().is_some_and(|count| count > 0), "{tally}");
    assert_eq!(import.end().await, 0);
}
