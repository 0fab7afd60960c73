//! Ratings over real sockets.

use souk_proto::{Reason, v1};

use crate::fixture::{Fixture, call, on_every_store, reason};

on_every_store!(
    rating_without_purchase_is_refused,
    rating_after_a_cancelled_purchase_is_refused,
    rating_twice_is_refused_unless_it_replaces,
    rating_with_0_or_6_stars_is_refused,
    rating_a_missing_item_is_refused,
    an_unrated_item_has_no_rating_and_a_rated_one_its_mean,
    cancelled_purchase_takes_its_rating_with_it,
    rating_stays_when_the_seller_cancels,
);

async fn rating_without_purchase_is_refused(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    assert_eq!(reason(bob.rate(lamp, 5).await), Reason::NotPurchased);
    assert_eq!(bob.item(lamp).await.unwrap().rating, None);
}

async fn rating_after_a_cancelled_purchase_is_refused(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    let order_id = bob.buy(lamp, 1).await.unwrap().order_id;
    call!(bob, CancelOrderRequest { order_id: order_id }).unwrap();
    assert_eq!(reason(bob.rate(lamp, 5).await), Reason::NotPurchased);
}

async fn rating_twice_is_refused_unless_it_replaces(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    bob.buy(lamp, 1).await.unwrap();
    bob.rate(lamp, 5).await.unwrap();
    assert_eq!(reason(bob.rate(lamp, 1).await), Reason::AlreadyRated);
    let replaced = call!(bob, RateItemRequest { item_id: lamp, stars: 2, update_existing: true });
    let rating = replaced.unwrap().rating.unwrap();
    assert_eq!((rating.count, rating.mean), (1, 2.0));
}

async fn rating_with_0_or_6_stars_is_refused(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    bob.buy(lamp, 1).await.unwrap();
    for stars in [0, 6, -1, i32::MAX] {
        assert_eq!(reason(bob.rate(lamp, stars).await), Reason::InvalidField, "{stars} stars");
    }
}

async fn rating_a_missing_item_is_refused(fixture: &Fixture) {
    let bob = fixture.buyer("bob").await;
    assert_eq!(reason(bob.rate(4_711, 5).await), Reason::ItemNotFound);
}

async fn an_unrated_item_has_no_rating_and_a_rated_one_its_mean(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let (bob, dave) = (fixture.buyer("bob").await, fixture.buyer("dave").await);
    let lamp = alice.lamp(5).await;
    assert_eq!(bob.item(lamp).await.unwrap().rating, None);
    for (buyer, stars) in [(&bob, 5), (&dave, 2)] {
        buyer.buy(lamp, 1).await.unwrap();
        buyer.rate(lamp, stars).await.unwrap();
    }
    let rating = bob.item(lamp).await.unwrap().rating.unwrap();
    assert_eq!((rating.count, rating.mean), (2, 3.5));
}

async fn cancelled_purchase_takes_its_rating_with_it(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let (bob, dave) = (fixture.buyer("bob").await, fixture.buyer("dave").await);
    let lamp = alice.lamp(9).await;
    dave.buy(lamp, 1).await.unwrap();
    dave.rate(lamp, 5).await.unwrap();
    let (first, second) = (bob.buy(lamp, 1).await.unwrap(), bob.buy(lamp, 1).await.unwrap());
    bob.rate(lamp, 1).await.unwrap();
    bob.as_buyer().cancel(first.order_id).await.unwrap();
    let rating = bob.item(lamp).await.unwrap().rating.unwrap();
    assert_eq!((rating.count, rating.mean), (2, 3.0), "another order still allows it");

    let good = v1::SearchItemRequest { query: "lamp".into(), min_rating: Some(4.0), ..Default::default() };
    assert!(bob.connection.call(good.clone()).await.unwrap().items.is_empty());
    let cancel = v1::CancelOrderRequest {
        request_id: bob.connection.request_id(),
        order_id: second.order_id,
        ..Default::default()
    };
    let cancelled = bob.connection.call(cancel.clone()).await.unwrap();
    let rating = bob.item(lamp).await.unwrap().rating.unwrap();
    assert_eq!((rating.count, rating.mean), (1, 5.0));
    // The answer came with the item's position in the feed, so the buyer's next search has the new mean.
    assert_eq!(bob.connection.call(good).await.unwrap().items.len(), 1);

    // A retry of the cancellation leaves the rating of a later purchase.
    bob.buy(lamp, 1).await.unwrap();
    bob.rate(lamp, 2).await.unwrap();
    assert_eq!(bob.connection.call(cancel).await.unwrap(), cancelled);
    let rating = bob.item(lamp).await.unwrap().rating.unwrap();
    assert_eq!((rating.count, rating.mean), (2, 3.5));
}

/// Otherwise, sellers could remove bad ratings.
async fn rating_stays_when_the_seller_cancels(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    let order_id = bob.buy(lamp, 1).await.unwrap().order_id;
    bob.rate(lamp, 1).await.unwrap();
    alice.as_seller().cancel(order_id, "no lamp for critics").await.unwrap();
    let rating = bob.item(lamp).await.unwrap().rating.unwrap();
    assert_eq!((rating.count, rating.mean), (1, 1.0));
    let replace = call!(bob, RateItemRequest { item_id: lamp, stars: 5, update_existing: true });
    assert_eq!(reason(replace), Reason::NotPurchased);
}
