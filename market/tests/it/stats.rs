//! `market stats`: the figures of a market that has traded, on each store.

use assert_cmd::Command;
use souk_certs::identity::Role;
use souk_testkit::{
    actor::{Actor, draft},
    local::{LocalMarket, LocalMarketOptions, StoreKind},
    postgres::{self, Database},
};

async fn figures(store: StoreKind) -> serde_json::Value {
    let market =
        LocalMarket::open(LocalMarketOptions { store, ..LocalMarketOptions::default() }).await.unwrap();
    let alice = Actor::enter(&market, Role::Seller, "Alice").await.unwrap();
    let bob = Actor::enter(&market, Role::Buyer, "Bob").await.unwrap();
    alice.register(None).await.unwrap();
    bob.register(None).await.unwrap();
    let lamp = alice.sell(draft("Lamp", "home/light", 1_250, 10)).await.unwrap().item_id;
    let vase = alice.sell(draft("Vase", "home", 300, 5)).await.unwrap().item_id;
    bob.buy(lamp, 2).await.unwrap();
    let cancelled = bob.buy(vase, 4).await.unwrap();
    bob.connection
        .call(souk_proto::v1::CancelOrderRequest { order_id: cancelled.order_id, ..Default::default() })
        .await
        .unwrap();
    let operator = market.identity(Role::Operator, "Olga").await.unwrap();
    let address = market.address().to_string();
    let shown = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_market"));
        command.args(["stats", "--output", "json", "--market", &address, "--cert"]);
        command.arg(operator.credentials.cert).assert().success()
    })
    .await
    .unwrap();
    market.close().await.unwrap();
    serde_json::from_slice(&shown.get_output().stdout).unwrap()
}

fn check(figures: &serde_json::Value) {
    for (name, expected) in [
        ("parties", 2),
        ("items", 2),
        ("orders", 2),
        ("units_sold", 2),
        ("units_in_stock", 13),
        ("orders_last_hour", 2),
        ("queued_commands", 0),
    ] {
        assert_eq!(figures[name], expected, "{name} in {figures}");
    }
    let revenue = &figures["revenue"][0];
    assert_eq!((&revenue["orders"], &revenue["amount_minor"]), (&1.into(), &2_500.into()), "{figures}");
    assert!(figures["pending_events"].as_i64() > Some(0), "{figures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_are_those_of_the_trade() {
    check(&figures(StoreKind::Memory).await);
    check(&figures(StoreKind::Sqlite).await);
    if postgres::is_there() {
        let database = Database::create();
        check(&figures(StoreKind::Postgres(database.address().to_owned())).await);
    }
}
