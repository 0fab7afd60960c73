//! A ride from the shop to the buyer.

use anyhow::{Context as _, ensure};
use souk_proto::v1::{self, track_ride_request::Message, watch_ride_response::Message as Seen};
use souk_testkit::actor::{draft, place};

use super::{Cast, Log};

pub(super) async fn tour(log: &mut Log, cast: &mut Cast) {
    log.step(
        "a courier's ride is tracked, watched, listed and ended",
        &[
            "RideService/StartRide",
            "RideService/TrackRide",
            "RideService/WatchRide",
            "RideService/ListRides",
            "RideService/EndRide",
        ],
        ride(cast),
    )
    .await;
}

async fn ride(cast: &Cast) -> anyhow::Result<()> {
    let basket = cast.alice.sell(draft("Basket", "home", 1_100, 2)).await?.item_id;
    let order_id = cast.bob.buy(basket, 1).await?.order_id;
    let alice = &cast.alice.connection;
    let ride_id = cast.alice.start_ride(order_id).await?.ride_id;

    let request = v1::WatchRideRequest { order_id, cursor: 0 };
    let mut watched = cast.bob.connection.rides().watch_ride(request).await?.into_inner();
    let now = souk_certs::clock::now().unix_timestamp();
    let positions = (0..5_i32).map(|n| {
        let time = Some(souk_proto::Timestamp { seconds: now - 60 + i64::from(n) * 10, nanos: 0 });
        Message::Position(v1::TrackedPosition { location: place(f64::from(n) / 100.0), time })
    });
    let messages = [Message::RideId(ride_id.clone())].into_iter().chain(positions);
    let messages: Vec<_> = messages.map(|message| v1::TrackRideRequest { message: Some(message) }).collect();
    let done = alice.rides().track_ride(futures::stream::iter(messages)).await?.into_inner();
    ensure!((done.received_count, done.kept_count) == (5, 5), "{done:?}");
    let request = v1::ListRidesRequest { ride_id_prefix: ride_id[..8].to_owned(), ..Default::default() };
    let listed = alice.call(request).await?.rides;
    ensure!(listed.iter().any(|ride| ride.ride_id == ride_id), "{listed:?}");
    cast.alice.seller().end_ride(ride_id).await?;

    let mut last = None;
    while let Some(message) = watched.message().await? {
        match message.message {
            Some(Seen::Position(position)) => last = Some(position),
            Some(Seen::Ended(_)) => break,
            None => {}
        }
    }
    let last = last.context("a position")?;
    ensure!(last.sequence == 5 && last.eta.is_some(), "{last:?}");
    Ok(())
}
