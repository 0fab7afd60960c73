//! Hosts that hang and rows that are locked: neither may block those who do not need them.

use std::{net::TcpListener, time::Duration};

use souk_domain::{Keys, Outcome, Sku};
use souk_store::{
    StoreError,
    postgres::{self, PostgresOptions},
};
use tokio::time::timeout;
use uuid::Uuid;

use super::{ALICE, BOB, Shop, buy, party, reprice};
use souk_testkit::postgres::{Database, is_there};

/// The maximum delay that a hanging host may cause.
const HOST_PATIENCE: Duration = Duration::from_secs(9);

#[tokio::test]
async fn host_that_never_answers_does_not_block_the_next() {
    if !is_there() {
        return;
    }
    // The kernel accepts connections, and no process ever answers them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let database = Database::create();
    let (before, after) = database.address().split_once('@').unwrap();
    let address = format!("{before}@{},{after}", silent.local_addr().unwrap());
    let opened =
        timeout(HOST_PATIENCE, postgres::open(&address, &PostgresOptions::default(), Uuid::from_u128(1)))
            .await;
    let store = opened.expect("the second host is reached in time").unwrap();
    // From now on, the host that answers is tried first.
    let reads = timeout(Duration::from_secs(2), store.reads.totals()).await.expect("no more waiting");
    assert_eq!(reads.unwrap().items, 0);

    let nobody = format!("{before}@{}/souk", silent.local_addr().unwrap());
    let refused = postgres::open(&nobody, &PostgresOptions::default(), Uuid::from_u128(1))
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(refused.contains("no answer within"), "{refused}");
}

#[tokio::test]
async fn locked_rows_are_reported_by_all_their_keys() {
    if !is_there() {
        return;
    }
    let mut shop = Shop::postgres().await;
    let (lamp, chair) = (shop.lamp(ALICE, 5).await, shop.lamp(ALICE, 5).await);
    let ordered = shop.act(BOB, buy(lamp, 1)).await.unwrap();
    let Outcome::Order(order) = ordered else { panic!("no order") };
    let number = Sku::parse("LAMP-1").unwrap();
    let named = format!("UPDATE item SET sku = 'LAMP-1' WHERE id = {}", lamp.0);
    shop.database().execute(&named).unwrap();

    let mut other = shop.beside(1 << 64).await;
    let holding = shop.command(ALICE, reprice(lamp, 900));
    let mut keys = Keys::default();
    holding.add_keys(&mut keys);
    shop.lane.load(&keys).await.unwrap();

    let sku = (party(ALICE), number);
    let all = Keys {
        items: [lamp, chair].into(),
        skus: [sku.clone()].into(),
        orders: [order.id].into(),
        ..Keys::default()
    };
    let loaded = other.lane.load(&all).await;
    assert!(matches!(loaded, Err(StoreError::Held(_))), "{loaded:?}");
    let held = other.lane.held(&all).await.unwrap();
    let expected =
        Keys { items: [lamp].into(), skus: [sku].into(), orders: [order.id].into(), ..Keys::default() };
    assert_eq!(held, expected);
    // The rows that were free have been unlocked again.
    let free = Keys { items: [chair].into(), ..Keys::default() };
    other.lane.load(&free).await.unwrap();
    other.lane.abandon().await;
    shop.lane.abandon().await;
    assert_eq!(other.lane.held(&all).await.unwrap(), Keys::default());
}
