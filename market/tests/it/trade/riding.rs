//! Rides, tracked by couriers and watched by buyers.

use souk_client::{Connection, Error};
use souk_proto::{
    Reason, Timestamp,
    v1::{self, track_ride_request::Message, watch_ride_response::Message as Seen},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::fixture::{Fixture, PATIENCE, Party, call, on_every_store, reason};

on_every_store!(
    courier_is_watched_to_the_door,
    watching_resumes_after_the_cursor,
    wrong_positions_are_reported_and_the_others_kept,
    flood_of_positions_is_thinned_out,
    positions_before_a_broken_stream_are_kept,
    ride_is_visible_only_to_its_seller_and_buyers,
    wrong_rides_are_refused,
    ended_ride_takes_no_positions,
    rides_are_listed_and_found_by_the_beginning_of_their_ids,
);

const HOME: v1::Location = v1::Location { latitude: 51.0, longitude: 0.1 };

/// Returns a position between 51° N 0° E and HOME, which is about 7 km to the east.
fn on_the_way(part: f64) -> Option<v1::Location> {
    Some(v1::Location { latitude: 51.0, longitude: 0.1 * part })
}

struct Delivery {
    alice: Party,
    bob: Party,
    order_id: i64,
    ride_id: String,
    /// The time of the first position, in seconds.
    began: i64,
}

impl Delivery {
    async fn begin(fixture: &Fixture) -> Self {
        let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
        let order_id = bob.buy(alice.lamp(5).await, 1).await.unwrap().order_id;
        let ride = start(&alice, vec![stop(order_id)]).await.unwrap();
        let began = souk_certs::clock::now().unix_timestamp() - 1_000;
        Self { alice, bob, order_id, ride_id: ride.ride_id, began }
    }

    fn position(&self, part: f64, seconds: i64) -> Message {
        let time = Some(Timestamp { seconds: self.began + seconds, nanos: 0 });
        Message::Position(v1::TrackedPosition { location: on_the_way(part), time })
    }

    async fn track(&self, positions: Vec<Message>) -> Result<v1::TrackRideResponse, Error> {
        let messages = [Message::RideId(self.ride_id.clone())].into_iter().chain(positions);
        track(&self.alice.connection, messages.collect()).await
    }

    async fn watch(&self, cursor: i64) -> Streaming<v1::WatchRideResponse> {
        let request = v1::WatchRideRequest { order_id: self.order_id, cursor };
        self.bob.connection.rides().watch_ride(request).await.unwrap().into_inner()
    }

    async fn end(&self) -> Result<v1::EndRideResponse, Error> {
        call!(self.alice, EndRideRequest { ride_id: self.ride_id.clone() })
    }
}

fn stop(order_id: i64) -> v1::RideStop {
    v1::RideStop { order_id, destination: Some(HOME) }
}

async fn start(seller: &Party, stops: Vec<v1::RideStop>) -> Result<v1::Ride, Error> {
    let started = call!(
        seller,
        StartRideRequest {
            kind: v1::RideKind::Regular.into(),
            vehicle: "green van".into(),
            driver: "Eve".into(),
            start: on_the_way(0.0),
            stops: stops,
        }
    );
    started.map(|started| started.ride.unwrap())
}

async fn track(connection: &Connection, messages: Vec<Message>) -> Result<v1::TrackRideResponse, Error> {
    let messages = messages.into_iter().map(|message| v1::TrackRideRequest { message: Some(message) });
    match connection.rides().track_ride(tokio_stream::iter(messages.collect::<Vec<_>>())).await {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) => Err(connection.explain(status).await),
    }
}

async fn next(watched: &mut Streaming<v1::WatchRideResponse>) -> Option<Seen> {
    let message = timeout(PATIENCE, watched.message()).await.expect("in time").unwrap();
    message.map(|message| message.message.unwrap())
}

async fn next_position(watched: &mut Streaming<v1::WatchRideResponse>) -> v1::RidePosition {
    match next(watched).await {
        Some(Seen::Position(position)) => position,
        other => panic!("no position: {other:?}"),
    }
}

async fn courier_is_watched_to_the_door(fixture: &Fixture) {
    let delivery = Delivery::begin(fixture).await;
    let mut watched = delivery.watch(0).await;
    let (messages, stream) = mpsc::channel(16);
    let send = |message| messages.try_send(v1::TrackRideRequest { message: Some(message) }).unwrap();
    send(Message::RideId(delivery.ride_id.clone()));
    let connection = delivery.alice.connection.clone();
    let tracking =
        tokio::spawn(async move { connection.rides().track_ride(ReceiverStream::new(stream)).await });
    send(delivery.position(0.0, 0));
    let first = next_position(&mut watched).await;
    assert_eq!((first.sequence, first.location, first.eta), (1, on_the_way(0.0), None));
    // A tenth of the way took 60 seconds, so the remaining nine tenths take 540.
    send(delivery.position(0.1, 60));
    let second = next_position(&mut watched).await;
    assert_eq!(second.sequence, 2);
    assert!((second.distance_meters - 700.0).abs() < 10.0, "{second:?}");
    assert!((second.eta.unwrap().seconds - 540).abs() <= 2, "{second:?}");
    drop(messages);
    let done = tracking.await.unwrap().unwrap().into_inner();
    assert_eq!((done.received_count, done.kept_count, done.failed_count), (2, 2, 0));
    assert!((done.distance_meters - second.distance_meters).abs() < 0.01);

    delivery.end().await.unwrap();
    assert!(matches!(next(&mut watched).await, Some(Seen::Ended(ended)) if ended.end_time.is_some()));
    assert_eq!(next(&mut watched).await, None, "nothing follows");
    let order = call!(delivery.bob, GetOrderRequest { order_id: delivery.order_id });
    let order = order.unwrap().order.unwrap();
    assert_eq!((order.status(), order.ride_id.as_str()), (v1::OrderStatus::Delivered, &*delivery.ride_id));
    // A watcher that starts only now sees where the ride ended.
    let mut late = delivery.watch(0).await;
    assert_eq!(next_position(&mut late).await.sequence, 2);
    assert!(matches!(next(&mut late).await, Some(Seen::Ended(_))));
}

async fn watching_resumes_after_the_cursor(fixture: &Fixture) {
    let delivery = Delivery::begin(fixture).await;
    let positions = (0..100).map(|n| delivery.position(f64::from(n) / 100.0, i64::from(n) * 5)).collect();
    delivery.track(positions).await.unwrap();
    let mut watched = delivery.watch(30).await;
    for sequence in 31..=100 {
        assert_eq!(next_position(&mut watched).await.sequence, sequence);
    }
    delivery.end().await.unwrap();
    assert!(matches!(next(&mut watched).await, Some(Seen::Ended(_))));
}

async fn wrong_positions_are_reported_and_the_others_kept(fixture: &Fixture) {
    let delivery = Delivery::begin(fixture).await;
    let off_the_globe = v1::TrackedPosition {
        location: Some(v1::Location { latitude: 91.0, longitude: 0.0 }),
        time: Some(Timestamp { seconds: delivery.began + 20, nanos: 0 }),
    };
    let positions = vec![
        delivery.position(0.0, 0),
        delivery.position(0.1, 10),
        Message::Position(off_the_globe),
        delivery.position(0.2, 5),
        delivery.position(0.2, 1_000_000),
        Message::Position(v1::TrackedPosition::default()),
        delivery.position(0.2, 30),
    ];
    let done = delivery.track(positions).await.unwrap();
    assert_eq!((done.received_count, done.kept_count, done.failed_count), (7, 3, 4));
    let numbers: Vec<_> = done.errors.iter().map(|error| error.number).collect();
    assert_eq!(numbers, [3, 4, 5, 6]);
    for (error, word) in done.errors.iter().zip(["latitude", "not later", "future", "missing"]) {
        assert!(error.message.contains(word), "{error:?}");
    }
}

async fn flood_of_positions_is_thinned_out(fixture: &Fixture) {
    let delivery = Delivery::begin(fixture).await;
    // 20,000 positions within two seconds, of which a track keeps one per second.
    let positions = (0..20_000_i32).map(|n| {
        let time = Timestamp { seconds: delivery.began + i64::from(n / 10_000), nanos: n % 10_000 * 100_000 };
        Message::Position(v1::TrackedPosition { location: on_the_way(f64::from(n) / 1e6), time: Some(time) })
    });
    let done = delivery.track(positions.collect()).await.unwrap();
    assert_eq!((done.received_count, done.kept_count, done.failed_count), (20_000, 2, 0));
}

async fn positions_before_a_broken_stream_are_kept(fixture: &Fixture) {
    let delivery = Delivery::begin(fixture).await;
    let mut watched = delivery.watch(0).await;
    let (messages, stream) = mpsc::channel(16);
    let send = |message| messages.try_send(v1::TrackRideRequest { message: Some(message) }).unwrap();
    send(Message::RideId(delivery.ride_id.clone()));
    send(delivery.position(0.0, 0));
    send(delivery.position(0.1, 60));
    let connection = delivery.alice.connection.clone();
    let tracking =
        tokio::spawn(async move { connection.rides().track_ride(ReceiverStream::new(stream)).await });
    let first = next_position(&mut watched).await;
    tracking.abort();
    if first.sequence == 1 {
        assert_eq!(next_position(&mut watched).await.sequence, 2);
    }
    drop(messages);
}

async fn ride_is_visible_only_to_its_seller_and_buyers(fixture: &Fixture) {
    let delivery = Delivery::begin(fixture).await;
    let (carol, dave) = (fixture.seller("carol").await, fixture.buyer("dave").await);
    let request = || v1::WatchRideRequest { order_id: delivery.order_id, cursor: 0 };
    for stranger in [&carol, &dave] {
        let refused = stranger.connection.rides().watch_ride(request()).await.unwrap_err();
        assert_eq!(Reason::of(&refused), Some(Reason::OrderNotFound));
    }
    assert!(delivery.alice.connection.rides().watch_ride(request()).await.is_ok());
    let foreign = vec![Message::RideId(delivery.ride_id.clone()), delivery.position(0.0, 0)];
    assert_eq!(reason(track(&carol.connection, foreign.clone()).await), Reason::RideNotFound);
    assert_eq!(reason(track(&delivery.bob.connection, foreign).await), Reason::RoleDenied);
    assert_eq!(reason(start(&delivery.bob, vec![stop(delivery.order_id)]).await), Reason::RoleDenied);
}

async fn wrong_rides_are_refused(fixture: &Fixture) {
    let delivery = Delivery::begin(fixture).await;
    let again = start(&delivery.alice, vec![stop(delivery.order_id)]).await;
    assert_eq!(reason(again), Reason::OrderStatusConflict);
    assert_eq!(reason(start(&delivery.alice, vec![]).await), Reason::InvalidField);
    let off =
        v1::RideStop { destination: Some(v1::Location { latitude: f64::NAN, longitude: 0.0 }), ..stop(1) };
    assert_eq!(reason(start(&delivery.alice, vec![off]).await), Reason::InvalidField);
    let nothing = call!(delivery.alice, StartRideRequest {});
    assert_eq!(nothing.unwrap_err().refusal().unwrap().violations().len(), 5);
    for first in [vec![], vec![delivery.position(0.0, 0)], vec![Message::RideId("no-such".into())]] {
        assert_eq!(reason(track(&delivery.alice.connection, first).await), Reason::InvalidField);
    }
    let unknown = vec![Message::RideId(uuid::Uuid::nil().to_string())];
    assert_eq!(reason(track(&delivery.alice.connection, unknown).await), Reason::RideNotFound);
    let placed = delivery.bob.buy(delivery.alice.lamp(5).await, 1).await.unwrap().order_id;
    let request = v1::WatchRideRequest { order_id: placed, cursor: 0 };
    let refused = delivery.bob.connection.rides().watch_ride(request).await.unwrap_err();
    assert_eq!(Reason::of(&refused), Some(Reason::OrderStatusConflict));
}

async fn ended_ride_takes_no_positions(fixture: &Fixture) {
    let delivery = Delivery::begin(fixture).await;
    delivery.track(vec![delivery.position(0.5, 10)]).await.unwrap();
    delivery.end().await.unwrap();
    assert_eq!(reason(delivery.track(vec![delivery.position(0.9, 60)]).await), Reason::RideEnded);
    assert_eq!(reason(delivery.end().await), Reason::RideEnded);
}

async fn rides_are_listed_and_found_by_the_beginning_of_their_ids(fixture: &Fixture) {
    let delivery = Delivery::begin(fixture).await;
    let (alice, bob) = (&delivery.alice, &delivery.bob);
    let lamp = alice.lamp(5).await;
    let mut started = vec![delivery.ride_id.clone()];
    for _ in 0..2 {
        let order = bob.buy(lamp, 1).await.unwrap().order_id;
        started.insert(0, start(alice, vec![stop(order)]).await.unwrap().ride_id);
    }
    let ids = |rides: &[v1::Ride]| rides.iter().map(|ride| ride.ride_id.clone()).collect::<Vec<_>>();
    let first = call!(alice, ListRidesRequest { page_size: 2 }).unwrap();
    let token = first.next_page_token.clone();
    let rest = call!(alice, ListRidesRequest { page_size: 2, page_token: token.clone() }).unwrap();
    // Ids begin with the time in milliseconds, so that two of the same one may be in any order.
    let mut listed = [ids(&first.rides), ids(&rest.rides)].concat();
    assert!(listed.is_sorted_by(|one, next| one > next) && rest.next_page_token.is_empty(), "{listed:?}");
    started.sort();
    listed.sort();
    assert_eq!(listed, started);
    for prefix in [delivery.ride_id.clone(), delivery.ride_id.replace('-', "").to_uppercase()] {
        let found = call!(alice, ListRidesRequest { ride_id_prefix: prefix }).unwrap();
        assert_eq!(ids(&found.rides), std::slice::from_ref(&delivery.ride_id));
    }
    let common = call!(alice, ListRidesRequest { ride_id_prefix: delivery.ride_id[..2].to_owned() }).unwrap();
    assert_eq!(common.rides.len(), 3);
    let carol = fixture.seller("carol").await;
    assert!(call!(carol, ListRidesRequest {}).unwrap().rides.is_empty());
    assert_eq!(reason(call!(carol, ListRidesRequest { page_token: token })), Reason::PageTokenInvalid);
    assert_eq!(
        reason(call!(carol, ListRidesRequest { ride_id_prefix: "ride".into() })),
        Reason::InvalidField
    );
    assert_eq!(reason(call!(bob, ListRidesRequest {})), Reason::RoleDenied);
}
