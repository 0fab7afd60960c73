//! `market admin top-talkers`: who uses a market most, in each format.

use assert_cmd::Command;
use serde_json::Value;
use souk_certs::identity::Role;
use souk_testkit::local::{LocalMarket, LocalMarketOptions};

use crate::fixture::registered;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_talkers_are_shown_as_table_json_and_csv() {
    let market = LocalMarket::open(LocalMarketOptions::default()).await.unwrap();
    let (alice, bob) = registered(&market).await;
    let operator = market.identity(Role::Operator, "Olga").await.unwrap().credentials.cert;
    let address = market.address().to_string();
    let shown = tokio::task::spawn_blocking(move || {
        let show = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_market"));
            command.args(["admin", "--market", &address, "--cert"]).arg(&operator).arg("top-talkers");
            let done = command.args(arguments).assert().success();
            String::from_utf8(done.get_output().stdout.clone()).unwrap()
        };
        [
            show(&["--output", "json"]),
            show(&["--output", "csv"]),
            show(&["--limit", "1"]),
            show(&["--strangers", "--output", "json"]),
        ]
    });
    let [json, csv, table, strangers] = shown.await.unwrap();
    let list: Value = serde_json::from_str(&json).unwrap();
    let rows = list["parties"].as_array().unwrap();
    for (actor, role) in [(&alice, "seller"), (&bob, "buyer")] {
        let row = rows.iter().find(|row| row["party_id"] == actor.id()).unwrap_or_else(|| panic!("{json}"));
        assert_eq!((&row["role"], &row["display_name"]), (&role.into(), &actor.name.clone().into()), "{row}");
        assert!(row["calls"].as_i64() > Some(0) && row["received_bytes"].as_i64() > Some(0), "{row}");
        assert_eq!((&row["connections"], &row["suspended"]), (&1.into(), &false.into()), "{row}");
    }
    // This command's own connection is one of an operator.
    assert!(rows.iter().any(|row| row["role"] == "operator" && row["calls"].as_i64() > Some(0)), "{json}");
    assert!(csv.starts_with("party_id,role,display_name,calls,cpu_ms,"), "{csv}");
    assert!(csv.contains(&alice.id()) && csv.contains(&bob.id()), "{csv}");
    assert_eq!(table.lines().count(), 2, "{table}");
    let strangers: Value = serde_json::from_str(&strangers).unwrap();
    assert_eq!(strangers["strangers"], Value::Array(Vec::new()));
    market.close().await.unwrap();
}
