//! Buying and cancelling over real sockets.

use std::sync::Arc;

use souk_proto::{Reason, v1};
use tokio::task::JoinSet;

use crate::fixture::{Fixture, call, on_every_store, pounds, reason};

on_every_store!(
    last_unit_is_buyable,
    no_oversell_under_64_concurrent_buyers,
    retry_with_same_request_id_returns_same_order,
    request_id_with_other_parameters_is_refused,
    changed_price_is_refused,
    total_past_the_largest_number_is_refused,
    cancelled_order_returns_to_stock_once,
    another_buyers_order_looks_like_none,
    orders_are_listed_latest_first_page_by_page,
);

async fn last_unit_is_buyable(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(2).await;
    bob.buy(lamp, 1).await.unwrap();
    let last = bob.buy(lamp, 1).await.unwrap();
    assert_eq!(last.total_price, pounds(1_250));
    assert_eq!(reason(bob.buy(lamp, 1).await), Reason::OutOfStock);
    assert_eq!(bob.item(lamp).await.unwrap().quantity, 0);
}

const BUYERS: usize = 64;
const UNITS: i64 = 40;

async fn no_oversell_under_64_concurrent_buyers(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let lamp = alice.lamp(UNITS).await;
    let mut buyers = Vec::new();
    for number in 0..BUYERS {
        buyers.push(fixture.buyer(&format!("buyer {number}")).await);
    }
    let start = Arc::new(tokio::sync::Barrier::new(BUYERS));
    let mut purchases = JoinSet::new();
    for buyer in buyers {
        let start = Arc::clone(&start);
        purchases.spawn(async move {
            start.wait().await;
            buyer.buy(lamp, 1).await
        });
    }
    let (mut bought, mut sold_out) = (0, 0);
    while let Some(purchase) = purchases.join_next().await {
        match purchase.unwrap() {
            Ok(_) => bought += 1,
            refused => {
                assert_eq!(reason(refused), Reason::OutOfStock);
                sold_out += 1;
            }
        }
    }
    assert_eq!((bought, sold_out), (UNITS, BUYERS as i64 - UNITS));
    assert_eq!(alice.item(lamp).await.unwrap().quantity, 0);
}

async fn retry_with_same_request_id_returns_same_order(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    let request_id = bob.request_id();
    let first = bob.buy_as(request_id.clone(), lamp, 2).await.unwrap();
    // The first outcome, although the item has changed since.
    bob.buy(lamp, 1).await.unwrap();
    let again = bob.buy_as(request_id, lamp, 2).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(bob.item(lamp).await.unwrap().quantity, 2);
}

async fn request_id_with_other_parameters_is_refused(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    let request_id = bob.request_id();
    bob.buy_as(request_id.clone(), lamp, 2).await.unwrap();
    assert_eq!(reason(bob.buy_as(request_id, lamp, 1).await), Reason::RequestIdReused);
}

async fn changed_price_is_refused(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    let dearer = v1::ItemDraft { unit_price: pounds(2_000), ..Default::default() };
    alice.update(lamp, dearer).await.unwrap();
    let purchase =
        call!(bob, BuyItemRequest { item_id: lamp, quantity: 1, expected_unit_price: pounds(1_250) });
    assert_eq!(reason(purchase), Reason::PriceChanged);
    assert_eq!(bob.item(lamp).await.unwrap().quantity, 5);
}

async fn total_past_the_largest_number_is_refused(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let palace = crate::fixture::draft("Palace", "home", 1_000_000_000_000_000, 1_000_000);
    let palace = alice.sell(palace).await.unwrap().item_id;
    assert_eq!(reason(bob.buy(palace, 1_000_000).await), Reason::InvalidField);
    assert_eq!(bob.item(palace).await.unwrap().quantity, 1_000_000);
}

async fn cancelled_order_returns_to_stock_once(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    let order_id = bob.buy(lamp, 2).await.unwrap().order_id;
    let cancel = || async { call!(&bob, CancelOrderRequest { order_id: order_id }) };
    let cancelled = cancel().await.unwrap().order.unwrap();
    assert_eq!(cancelled.status(), v1::OrderStatus::Cancelled);
    assert!(cancelled.cancel_time.is_some());
    assert_eq!(reason(cancel().await), Reason::NotCancellable);
    assert_eq!(bob.item(lamp).await.unwrap().quantity, 5);
}

async fn another_buyers_order_looks_like_none(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let (bob, dave) = (fixture.buyer("bob").await, fixture.buyer("dave").await);
    let lamp = alice.lamp(5).await;
    let order_id = bob.buy(lamp, 1).await.unwrap().order_id;
    let shown = call!(dave, GetOrderRequest { order_id: order_id });
    assert_eq!(reason(shown), Reason::OrderNotFound);
    let cancelled = call!(dave, CancelOrderRequest { order_id: order_id });
    assert_eq!(reason(cancelled), Reason::OrderNotFound);
    assert_eq!(bob.item(lamp).await.unwrap().quantity, 4);
}

async fn orders_are_listed_latest_first_page_by_page(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(9).await;
    let mut placed = Vec::new();
    for _ in 0..5 {
        placed.push(bob.buy(lamp, 1).await.unwrap().order_id);
    }
    placed.reverse();
    let first = call!(bob, ListOrdersRequest { page_size: 3 }).unwrap();
    let second =
        call!(bob, ListOrdersRequest { page_size: 3, page_token: first.next_page_token.clone() }).unwrap();
    let listed: Vec<_> = first.orders.iter().chain(&second.orders).map(|order| order.order_id).collect();
    assert_eq!(listed, placed);
    assert!(second.next_page_token.is_empty());
    // A page token is bound to its query, and another filter is another query.
    let other = call!(
        bob,
        ListOrdersRequest { page_token: first.next_page_token, status: v1::OrderStatus::Cancelled.into() }
    );
    assert_eq!(reason(other), Reason::PageTokenInvalid);
}
