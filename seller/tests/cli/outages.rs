//! Commands that run for long, while the market goes away and comes back.

use std::fs;

use serde_json::Value;
use souk_certs::identity::Role;
use souk_client::{Admin, Connection};
use souk_testkit::{actor::Actor, eventually, gate::Gate, terminal::Running};

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
    assert!(listener.error_line().await.contains(" disconnected ("));
    admin.reinstate(id).await.expect("reinstated");
    assert!(listener.error_line().await.ends_with(" reconnected"));
    assert!(listener.error_line().await.contains("everything"));
    gate.shut().await;
    assert!(listener.error_line().await.contains(" disconnected ("));
    buy(&market, lamp, 1).await;
    gate.reopen_after(2).await;
    assert!(listener.error_line().await.ends_with(" reconnected"));
    assert!(listener.line().await.contains("order_placed"));
    assert_eq!(listener.interrupt().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_outlives_an_outage() {
    const ROWS: usize = 20_000;
    /// One row of so many is refused by the market, and the one after it by the program.
    const WRONG: usize = 1_000;
    /// More failed attempts than after which a single call gives up.
    const TURNED_AWAY: usize = 6;
    let market = market().await;
    let mut gate = Gate::open(market.address()).await;
    let mut alice = registered(&market).await;
    let file = alice.home.path().join("items.csv");
    let rows = (0..ROWS).map(|n| match n % WRONG {
        500 => format!("L-{n},Lantern {n},Home Light!,9.99,GBP,5\n"),
        501 => format!("L-{n},Lantern {n},home/light,cheap,GBP,5\n"),
        _ => format!("L-{n},Lantern {n},home/light,9.99,GBP,5\n"),
    });
    let text = ["sku,name,category,price,currency,quantity\n".to_owned()].into_iter().chain(rows);
    fs::write(&file, text.collect::<String>()).expect("written");
    alice.set("SOUK_MARKET", gate.address.to_string());
    let file = file.display().to_string();
    let mut import = alice.start_with_errors(&["import", &file, "--output", "ndjson"]);
    // It has begun when the first items are on the market.
    let mut other = registered(&market).await;
    other.set("SOUK_MARKET", market.address().to_string());
    eventually("the import has begun", async || {
        !other.run(&["items", "--output", "json"]).await.rows().is_empty()
    })
    .await;
    gate.shut().await;
    let mut said = lines_until(&mut import, |line| line.starts_with("disconnected (")).await;
    gate.reopen_after(TURNED_AWAY).await;
    said.extend(lines_until(&mut import, |line| line == "reconnected").await);
    let tally: Value = serde_json::from_str(&import.line().await).expect("JSON");
    // As if nothing had happened in between: no row is forgotten, and none that was listed is found unchanged.
    let wrong = 2 * ROWS / WRONG;
    let counts = ["rows", "created_count", "updated_count", "unchanged_count", "failed_count"];
    assert_eq!(
        counts.map(|count| tally[count].as_u64()),
        [ROWS, ROWS - wrong, 0, 0, wrong].map(|n| Some(n as u64))
    );
    said.extend(lines_until(&mut import, |line| line.contains("were left out")).await);
    let refused = said.iter().filter(|line| line.starts_with("line ")).count();
    assert_eq!(refused, wrong, "each refused row is reported once: {said:?}");
    assert_eq!(import.end().await, 2);
}

/// Reads lines of the standard error up to one.
async fn lines_until(import: &mut Running, is_last: impl Fn(&str) -> bool) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = import.error_line().await;
        let is_last = is_last(&line);
        lines.push(line);
        if is_last {
            return lines;
        }
    }
}
