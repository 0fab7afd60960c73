//! Counts what RateItem and CancelOrder read for a buyer of a million orders.

use souk_domain::{ItemId, OrderId, Outcome, RatingSummary, action};
use souk_testkit::{database::DatabaseServer, eventually, postgres::is_there};
use uuid::Uuid;

use super::{PostgresOptions, open};
use crate::{
    Store,
    fixture::{self, ALICE, BOB, act, buy, lamp, rate},
};

const ORDERS: i64 = 1_000_000;
/// The most rows and index entries that a market may read that opens the database and carries out a few commands.
const MOST_READ: i64 = 5_000;

/// Gives the buyer all the orders, of the items 1 and 2 in turn.
fn fill(server: &DatabaseServer) {
    let fill = format!(
        "ALTER TABLE orders SET UNLOGGED;
         INSERT INTO orders (id, buyer, buyer_name, seller, seller_name, item, item_name, amount_minor, currency,
                             quantity, total_minor, status, placed_at)
             SELECT i, buyer.id, 'Bob', seller.id, 'Alice', 1 + i % 2, 'Lamp', 1250, 'GBP', 1, 1250, 'placed', 1
             FROM generate_series(1, {ORDERS}) AS i, party AS buyer, party AS seller
             WHERE buyer.role = 'buyer' AND seller.role = 'seller';
         UPDATE item SET sold = sold + {ORDERS} / 2, supplied = supplied + {ORDERS} / 2 WHERE id IN (1, 2);
         SELECT setval('order_number', {ORDERS});
         ANALYZE"
    );
    server.psql("souk", &fill).unwrap();
    assert_eq!(server.psql("souk", "SELECT count(*) FROM orders").unwrap().trim(), ORDERS.to_string());
}

/// Returns the number of rows and index entries that were read since the database was created.
fn read(server: &DatabaseServer) -> i64 {
    let read = "SELECT (SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables) \
                + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)";
    server.psql("souk", read).unwrap().trim().parse().unwrap()
}

async fn opened(server: &DatabaseServer) -> Store {
    let address = server.address("souk", None);
    open(&address, &PostgresOptions::default(), Uuid::from_u128(7)).await.unwrap()
}

/// Waits until the sessions of a market have ended: at its end, a session reports what it has read.
async fn ended(server: &DatabaseServer) {
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'souk-market'";
    eventually("the market's sessions end", async || server.psql("souk", sessions).unwrap().trim() == "0")
        .await;
}

#[tokio::test]
async fn rating_and_cancelling_read_few_of_a_million_orders() {
    if !is_there() {
        return;
    }
    let server = DatabaseServer::start(&["fsync = off", "autovacuum = off"]).unwrap();
    server.psql("postgres", "CREATE DATABASE souk TEMPLATE template0 ENCODING UTF8").unwrap();
    let mut store = opened(&server).await;
    let mut lane = store.lanes.remove(0);
    fixture::open(&mut lane).await;
    act(&mut lane, 4, ALICE, lamp()).await;
    act(&mut lane, 5, ALICE, lamp()).await;
    drop((lane, store));
    ended(&server).await;
    fill(&server);

    let before = read(&server);
    let mut store = opened(&server).await;
    let mut lane = store.lanes.remove(0);
    let (common, rare) = (ItemId(1), ItemId(3));
    let rated = act(&mut lane, 1_001, BOB, rate(common)).await;
    assert_eq!(rated, Outcome::Rated(RatingSummary { count: 1, total_stars: 4 }));
    act(&mut lane, 1_002, BOB, action::Cancel { order: OrderId(ORDERS / 2) }).await;
    // Of another item there is only one order, after all the others.
    let Outcome::Order(order) = act(&mut lane, 1_003, BOB, buy(rare)).await else { panic!("an order") };
    act(&mut lane, 1_004, BOB, rate(rare)).await;
    act(&mut lane, 1_005, BOB, action::Cancel { order: order.id }).await;
    drop((lane, store));
    ended(&server).await;
    let read = read(&server) - before;
    assert!((1..=MOST_READ).contains(&read), "{read} rows");
    let counts = server.psql("souk", "SELECT rating_count FROM item ORDER BY id").unwrap();
    assert_eq!(counts.split_whitespace().collect::<Vec<_>>(), ["1", "0", "0"]);
}
