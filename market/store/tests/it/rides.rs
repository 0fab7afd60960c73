//! Rides and their tracks, on every back end.

use std::time::Duration;

use souk_domain::{
    Action, OrderId, OrderStatus, Outcome, Place, Refusal, Ride, RideId, RideKind, RidePlan, RideStop,
    RideText, Timestamp, action,
};
use souk_store::{Fix, RideQuery, TrackPoint};
use uuid::Uuid;

use super::{ALICE, BOB, CAROL, DAVE, Shop, buy, on_every_back_end};

on_every_back_end!(
    ride_ships_its_orders_and_ends_with_their_delivery,
    ride_takes_only_the_sellers_placed_orders,
    track_never_goes_backwards,
    old_tracks_are_deleted,
    rides_are_listed_latest_first,
);

impl Shop {
    async fn order(&mut self, buyer: u128, seller: u128) -> OrderId {
        let lamp = self.lamp(seller, 5).await;
        match self.act(buyer, buy(lamp, 1)).await.unwrap() {
            Outcome::Order(order) => order.id,
            other => panic!("{other:?}"),
        }
    }

    async fn status(&self, order: OrderId) -> (OrderStatus, Option<RideId>) {
        let order = self.store.reads.order(order).await.unwrap().unwrap();
        (order.status, order.ride)
    }

    async fn start(&mut self, kind: RideKind, orders: &[OrderId]) -> Result<Ride, Refusal> {
        match self.act(ALICE, Action::StartRide(action::StartRide(plan(kind, orders)))).await? {
            Outcome::Ride(ride) => Ok(ride),
            other => panic!("{other:?}"),
        }
    }
}

fn plan(kind: RideKind, orders: &[OrderId]) -> RidePlan {
    let text = |text| RideText::parse(text).unwrap();
    let stops = orders.iter().map(|order| RideStop { order: *order, destination: Some(place(2.0)) });
    RidePlan {
        kind,
        vehicle: text("green van"),
        driver: text("Eve"),
        start: place(0.0),
        stops: stops.collect(),
    }
}

fn place(longitude: f64) -> Place {
    Place::parse(51.0, longitude).unwrap()
}

async fn ride_ships_its_orders_and_ends_with_their_delivery(mut shop: Shop) {
    let orders = [shop.order(BOB, ALICE).await, shop.order(DAVE, ALICE).await];
    let ride = shop.start(RideKind::Pooled, &orders).await.unwrap();
    assert_eq!(shop.store.reads.ride(ride.id).await.unwrap(), Some(ride.clone()));
    for order in orders {
        assert_eq!(shop.status(order).await, (OrderStatus::Shipped, Some(ride.id)));
    }
    // One of the orders is delivered before the ride ends.
    shop.act(ALICE, Action::Deliver(action::Deliver { order: orders[0] })).await.unwrap();
    let end = Action::EndRide(action::EndRide { ride: ride.id, orders: orders.to_vec() });
    assert_eq!(shop.act(CAROL, end.clone()).await, Err(Refusal::RideNotFound(ride.id)));
    shop.act(ALICE, end.clone()).await.unwrap();
    for order in orders {
        assert_eq!(shop.status(order).await.0, OrderStatus::Delivered);
    }
    assert!(shop.store.reads.ride(ride.id).await.unwrap().unwrap().ended_at.is_some());
    assert_eq!(shop.act(ALICE, end).await, Err(Refusal::RideEnded(ride.id)));
}

async fn ride_takes_only_the_sellers_placed_orders(mut shop: Shop) {
    let (bobs, daves, carols) =
        (shop.order(BOB, ALICE).await, shop.order(DAVE, ALICE).await, shop.order(BOB, CAROL).await);
    let refused = shop.start(RideKind::Pooled, &[bobs, carols]).await;
    assert_eq!(refused, Err(Refusal::OrderNotFound(carols)));
    for (kind, orders) in [(RideKind::Regular, [bobs, daves]), (RideKind::Pooled, [bobs, bobs])] {
        let refused = shop.start(kind, &orders).await;
        assert!(matches!(refused, Err(Refusal::InvalidField { field: "stops", .. })), "{refused:?}");
    }
    assert_eq!(shop.status(bobs).await, (OrderStatus::Placed, None), "all or nothing");
    shop.start(RideKind::Regular, &[bobs]).await.unwrap();
    let again = shop.start(RideKind::Regular, &[bobs]).await;
    assert!(matches!(again, Err(Refusal::WrongStatus { .. })), "{again:?}");
}

fn fix(longitude: f64, seconds: i64) -> Fix {
    Fix { place: place(longitude), at: Timestamp(seconds * 1_000_000) }
}

async fn track_never_goes_backwards(shop: Shop) {
    let tracks = &shop.store.tracks;
    let ride = RideId(Uuid::from_u128(7));
    assert!(tracks.last(ride, 5).await.unwrap().is_empty());
    tracks.lengthen(ride, &[fix(0.0, 10), fix(0.1, 20), fix(0.5, 15)], Timestamp(10)).await.unwrap();
    tracks.lengthen(ride, &[fix(0.1, 20), fix(0.2, 30)], Timestamp(10)).await.unwrap();
    let points = tracks.after(ride, 0, 10).await.unwrap();
    let fixes: Vec<_> = points.iter().map(|point| (point.sequence, point.fix)).collect();
    assert_eq!(fixes, [(1, fix(0.0, 10)), (2, fix(0.1, 20)), (3, fix(0.2, 30))]);
    let way = place(0.0).meters_to(place(0.1)) + place(0.1).meters_to(place(0.2));
    assert!((points[2].meters - way).abs() < 0.01);
    let sequences = |points: Vec<TrackPoint>| points.iter().map(|point| point.sequence).collect::<Vec<_>>();
    assert_eq!(sequences(tracks.after(ride, 1, 1).await.unwrap()), [2]);
    assert_eq!(sequences(tracks.last(ride, 2).await.unwrap()), [2, 3]);
    assert!(tracks.after(RideId(Uuid::from_u128(8)), 0, 10).await.unwrap().is_empty());
}

async fn old_tracks_are_deleted(shop: Shop) {
    let tracks = &shop.store.tracks;
    let ride = RideId(Uuid::from_u128(7));
    let seconds = |seconds| Timestamp(0).plus(Duration::from_secs(seconds));
    // The courier's clock is far ahead, which makes no position younger.
    for (longitude, stored_at) in [(0.0, 10), (0.1, 20), (0.2, 30)] {
        let fix = fix(longitude, 1_000_000 + i64::try_from(stored_at).unwrap());
        tracks.lengthen(ride, &[fix], seconds(stored_at)).await.unwrap();
    }
    let before = seconds(25);
    assert_eq!(tracks.forget(before, 1).await.unwrap(), 1, "in small steps");
    assert_eq!(tracks.forget(before, 9).await.unwrap(), 1);
    assert_eq!(tracks.forget(before, 9).await.unwrap(), 0);
    assert_eq!(tracks.last(ride, 9).await.unwrap().len(), 1);
}

async fn rides_are_listed_latest_first(mut shop: Shop) {
    let mut own = Vec::new();
    for _ in 0..3 {
        let order = shop.order(BOB, ALICE).await;
        own.insert(0, shop.start(RideKind::Regular, &[order]).await.unwrap().id);
        let order = shop.order(BOB, CAROL).await;
        let other = Action::StartRide(action::StartRide(plan(RideKind::Regular, &[order])));
        shop.act(CAROL, other).await.unwrap();
    }
    let (from, to) = (RideId(Uuid::nil()), RideId(Uuid::max()));
    let all = RideQuery { seller: super::party(ALICE), from, to, before: None, limit: 9 };
    let ids = async |query: RideQuery| {
        let rides = shop.store.reads.rides(&query).await.unwrap();
        rides.into_iter().map(|ride| ride.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(all).await, own);
    assert_eq!(ids(RideQuery { limit: 2, ..all }).await, own[..2]);
    assert_eq!(ids(RideQuery { before: Some(own[1]), ..all }).await, own[2..]);
    assert_eq!(ids(RideQuery { from: own[1], to: own[1], ..all }).await, own[1..2]);
}
