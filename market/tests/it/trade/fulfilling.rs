//! Orders of several items, and their fulfilment.

use souk_client::{Seen, follow::follow};
use souk_proto::{
    Reason,
    v1::{self, event::Kind},
};

use super::delivering::next;
use crate::fixture::{Fixture, Party, call, on_every_store, reason};

on_every_store!(
    basket_is_bought_all_or_nothing,
    basket_without_or_with_too_many_lines_is_refused,
    every_wrong_line_of_a_basket_is_named,
    sale_is_shipped_and_delivered_and_its_buyer_notified,
    only_the_seller_moves_an_order,
    seller_cancels_with_a_reason,
    orders_are_found_by_time,
    summary_needs_a_bounded_time,
    summary_has_as_many_items_as_are_asked_for,
);

fn line(item_id: i64, quantity: i64) -> v1::OrderLine {
    v1::OrderLine { item_id, quantity, expected_unit_price: None }
}

async fn place(buyer: &Party, lines: Vec<v1::OrderLine>) -> Result<Vec<v1::Order>, souk_client::Error> {
    buyer.as_buyer().place(lines).await
}

async fn basket_is_bought_all_or_nothing(fixture: &Fixture) {
    let (alice, carol) = (fixture.seller("alice").await, fixture.seller("carol").await);
    let bob = fixture.buyer("bob").await;
    let (lamp, chair) = (alice.lamp(3).await, carol.lamp(3).await);
    let refused = place(&bob, vec![line(chair, 1), line(lamp, 2), line(lamp, 2)]).await;
    assert_eq!(reason(refused), Reason::OutOfStock);
    assert_eq!(bob.item(chair).await.unwrap().quantity, 3);
    let orders = place(&bob, vec![line(chair, 1), line(lamp, 2), line(lamp, 1)]).await.unwrap();
    let bought: Vec<_> = orders.iter().map(|order| (order.item_id, order.quantity)).collect();
    assert_eq!(bought, [(chair, 1), (lamp, 3)]);
    assert_eq!(bob.item(lamp).await.unwrap().quantity, 0);
    assert_eq!((alice.pending().await, carol.pending().await), (1, 1));
}

async fn basket_without_or_with_too_many_lines_is_refused(fixture: &Fixture) {
    let bob = fixture.buyer("bob").await;
    for count in [0, 101] {
        assert_eq!(reason(place(&bob, vec![line(1, 1); count]).await), Reason::InvalidField);
    }
}

async fn every_wrong_line_of_a_basket_is_named(fixture: &Fixture) {
    let bob = fixture.buyer("bob").await;
    let refused = place(&bob, vec![line(1, 0), line(1, 1), line(-1, 1)]).await.unwrap_err().to_string();
    assert!(refused.contains("lines[0].quantity") && refused.contains("lines[2].item_id"), "{refused}");
    assert!(!refused.contains("lines[1]"), "{refused}");
}

async fn ship(seller: &Party, order_id: i64) -> Result<v1::Order, souk_client::Error> {
    seller.as_seller().ship(order_id).await
}

async fn deliver(seller: &Party, order_id: i64) -> Result<v1::Order, souk_client::Error> {
    seller.as_seller().deliver(order_id).await
}

async fn sale_is_shipped_and_delivered_and_its_buyer_notified(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    let order_id = bob.buy(lamp, 2).await.unwrap().order_id;
    let (follower, mut events) = follow(bob.connection.clone(), Seen::in_memory());
    assert_eq!(reason(deliver(&alice, order_id).await), Reason::OrderStatusConflict);
    assert!(ship(&alice, order_id).await.unwrap().ship_time.is_some());
    let Kind::OrderShipped(shipped) = next(&mut events).await else {
        panic!("no notification of the shipping")
    };
    assert_eq!(shipped.order.unwrap().order_id, order_id);
    assert_eq!(reason(bob.as_buyer().cancel(order_id).await), Reason::NotCancellable);
    assert_eq!(deliver(&alice, order_id).await.unwrap().status(), v1::OrderStatus::Delivered);
    assert!(matches!(next(&mut events).await, Kind::OrderDelivered(_)));
    assert_eq!(bob.item(lamp).await.unwrap().quantity, 3);
    follower.close().await;
}

async fn only_the_seller_moves_an_order(fixture: &Fixture) {
    let (alice, carol) = (fixture.seller("alice").await, fixture.seller("carol").await);
    let bob = fixture.buyer("bob").await;
    let order_id = bob.buy(alice.lamp(5).await, 1).await.unwrap().order_id;
    assert_eq!(reason(ship(&carol, order_id).await), Reason::OrderNotFound);
    assert_eq!(reason(ship(&bob, order_id).await), Reason::RoleDenied);
    ship(&alice, order_id).await.unwrap();
    assert_eq!(reason(deliver(&carol, order_id).await), Reason::OrderNotFound);
}

async fn seller_cancels_with_a_reason(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    let order_id = bob.buy(lamp, 2).await.unwrap().order_id;
    assert_eq!(reason(alice.as_seller().cancel(order_id, "").await), Reason::InvalidField);
    alice.as_seller().cancel(order_id, "cracked").await.unwrap();
    let (follower, mut events) = follow(bob.connection.clone(), Seen::in_memory());
    let Kind::OrderCancelled(cancelled) = next(&mut events).await else {
        panic!("no notification of the cancellation")
    };
    let order = cancelled.order.unwrap();
    assert_eq!((order.cancelled_by(), order.cancel_reason.as_str()), (v1::Role::Seller, "cracked"));
    assert_eq!(bob.item(lamp).await.unwrap().quantity, 5);
    follower.close().await;
}

async fn orders_are_found_by_time(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let order = bob.buy(alice.lamp(5).await, 1).await.unwrap();
    let placed = order.place_time.unwrap();
    let later = Some(souk_proto::Timestamp { seconds: placed.seconds + 1, nanos: 0 });
    let before = call!(bob, ListOrdersRequest { until_time: later }).unwrap();
    assert_eq!(before.orders.len(), 1);
    let after = call!(alice, ListSalesRequest { from_time: later }).unwrap();
    assert!(after.orders.is_empty());
    let backwards = call!(bob, ListOrdersRequest { from_time: later, until_time: order.place_time });
    assert_eq!(reason(backwards), Reason::InvalidField);
    let odd = Some(souk_proto::Timestamp { seconds: 0, nanos: -1 });
    assert_eq!(reason(call!(bob, ListOrdersRequest { from_time: odd })), Reason::InvalidField);
}

async fn summary_needs_a_bounded_time(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let day = |day: i64| Some(souk_proto::Timestamp { seconds: day * 86_400, nanos: 0 });
    for (from_time, until_time) in [(None, None), (day(1), None), (day(1), day(368)), (day(2), day(1))] {
        let summary = call!(alice, SummarizeSalesRequest { from_time: from_time, until_time: until_time });
        assert_eq!(reason(summary), Reason::InvalidField);
    }
    let year = call!(alice, SummarizeSalesRequest { from_time: day(1), until_time: day(367) });
    assert_eq!(year.unwrap(), v1::SummarizeSalesResponse::default());
}

async fn summary_has_as_many_items_as_are_asked_for(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let (lamp, other) = (alice.lamp(9).await, alice.lamp(9).await);
    bob.buy(lamp, 1).await.unwrap();
    let order = bob.buy(other, 3).await.unwrap();
    let until = order.place_time.map(|time| souk_proto::Timestamp { seconds: time.seconds + 1, ..time });
    let from = until.map(|time| souk_proto::Timestamp { seconds: time.seconds - 86_400, ..time });
    let items = async |item_limit: i32| {
        let summary = call!(
            alice,
            SummarizeSalesRequest { from_time: from, until_time: until, item_limit: item_limit }
        )?;
        Ok(summary.items.iter().map(|item| item.item_id).collect::<Vec<_>>())
    };
    assert_eq!(items(0).await.unwrap(), [other, lamp]);
    assert_eq!(items(1).await.unwrap(), [other]);
    assert_eq!(items(i32::MAX).await.unwrap(), [other, lamp]);
    assert_eq!(reason(items(-1).await), Reason::InvalidField);
}
