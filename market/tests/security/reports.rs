//! Slow reports, which read hundreds of thousands of rows. Other calls must not wait for them.

use std::time::Instant;

use prost::Message as _;
use souk_proto::v1;
use souk_testkit::{
    actor::draft,
    local::{LocalMarketOptions, StoreKind},
};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    fixture::{Fixture, PATIENCE},
    raw::Pass,
};

/// Enough for a report to take a good part of a second.
const ORDERS: u32 = 400_000;
/// Without a bound, their reports take a minute.
const REPORTS: usize = 200;
const SUMMARY: &str = "/shopping.v1.SellerService/SummarizeSales";

/// Copies the only order of a market that is stopped.
fn multiply_order(fixture: &Fixture) {
    let store = rusqlite::Connection::open(fixture.market.path().join("souk.db")).unwrap();
    let columns = "buyer, seller, item, amount_minor, currency, quantity, total_minor, status, placed_at";
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ORDERS}) \
         INSERT INTO orders (id, {columns}) SELECT orders.id + i, {columns} FROM orders, n"
    );
    store.execute_batch(&sql).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_reports_of_one_party() {
    let mut fixture = Fixture::with_store(LocalMarketOptions::default(), StoreKind::Sqlite).await;
    let mallory = fixture.seller("Mallory").await;
    let bait = mallory.sell(draft("Bait", "home", 100, 1)).await.unwrap();
    let order = fixture.bob.buy(bait.item_id, 1).await.unwrap();
    fixture.market.stop().await.unwrap();
    multiply_order(&fixture);
    fixture.market.start().await.unwrap();
    let pass = Pass::of(&fixture, &mallory).await;
    let mut reports = JoinSet::new();
    for _ in 0..REPORTS {
        // Not a whole day, so the orders have to be read.
        let until_time =
            order.place_time.map(|time| prost_types::Timestamp { seconds: time.seconds + 1, nanos: 1_000 });
        let from_time = until_time.map(|time| prost_types::Timestamp { seconds: time.seconds - 99, ..time });
        let message = v1::SummarizeSalesRequest { from_time, until_time, item_limit: 0 };
        let pass = pass.clone();
        reports.spawn(async move { pass.call(SUMMARY, message.encode_to_vec()).await });
    }
    let begun = Instant::now();
    for _ in 0..50 {
        let seen = timeout(PATIENCE, fixture.bob.item(fixture.lamp.item_id)).await;
        seen.expect("it does not wait for the reports").unwrap();
    }
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    reports.shutdown().await;
    // Nothing goes on for those who have gone: another party's list comes soon.
    timeout(PATIENCE, fixture.alice.connection.call(v1::ListSalesRequest::default())).await.unwrap().unwrap();
    fixture.hold().await;
}
