//! WatchRide: follows a ride's track.

use std::{collections::VecDeque, time::Duration};

use futures::{Stream, stream};
use souk_domain::{OrderId, PartyId, Place, RideId};
use souk_proto::v1::{self, watch_ride_response::Message};
use souk_store::TrackPoint;
use tokio::time::timeout;
use tonic::Status;

use super::{Api, open_ride, read};
use crate::{rides::RideWatch, wire};

/// Number of points read from the store at a time.
const PAGE: usize = 64;
/// Number of recent points from which the speed is computed.
const STRETCH: usize = 10;
/// Minimum speed for an estimate of the time of arrival, in metres per second. Below it, the ride is standing.
const SLOWEST: f64 = 0.5;
/// Polling interval in case a notification is lost: the courier may be connected to another market.
const POLL: Duration = Duration::from_secs(2);

struct Watcher {
    api: Api,
    watch: RideWatch,
    caller: PartyId,
    ride: RideId,
    order: OrderId,
    cursor: i64,
    /// The most recent points, from which the speed is computed.
    stretch: VecDeque<TrackPoint>,
    is_first: bool,
    is_over: bool,
}

/// Returns a stream of the positions of an order's ride, until the ride ends.
pub(super) fn positions(
    api: Api,
    caller: PartyId,
    (ride, order): (RideId, OrderId),
    cursor: i64,
) -> impl Stream<Item = Result<v1::WatchRideResponse, Status>> + Send {
    let watch = api.parts.rides.watch(ride);
    let watcher = Watcher {
        api,
        watch,
        caller,
        ride,
        order,
        cursor,
        stretch: VecDeque::with_capacity(STRETCH),
        is_first: true,
        is_over: false,
    };
    let steps = stream::try_unfold(watcher, |mut watcher| async move {
        let (api, caller) = (watcher.api.clone(), watcher.caller);
        match api.unless_suspended(caller, watcher.step()).await? {
            Some(messages) => {
                let messages = messages
                    .into_iter()
                    .map(|message| Ok::<_, Status>(v1::WatchRideResponse { message: Some(message) }));
                Ok::<_, Status>(Some((stream::iter(messages), watcher)))
            }
            None => Ok(None),
        }
    });
    futures::TryStreamExt::try_flatten(steps)
}

impl Watcher {
    /// Returns the next messages, waiting if there are none yet. `None` marks the end.
    async fn step(&mut self) -> Result<Option<Vec<Message>>, Status> {
        if self.is_over {
            return Ok(None);
        }
        loop {
            // Read the ride before its track: if it has ended, every position sent before is already in the track.
            let ride = open_ride(&self.api, self.ride).await?;
            let points = if self.is_first { self.begin().await? } else { self.more().await? };
            self.is_first = false;
            let destination = ride.destination(self.order);
            let is_all = points.len() < PAGE;
            let mut messages: Vec<_> = points
                .into_iter()
                .map(|point| Message::Position(self.position(point, destination)))
                .collect();
            if let (Some(ended), true) = (ride.ended_at, is_all) {
                self.is_over = true;
                messages.push(Message::Ended(v1::RideEnded { end_time: Some(wire::timestamp(ended)) }));
            }
            if !messages.is_empty() {
                return Ok(Some(messages));
            }
            // On a notification and on a timeout alike, the next step reads the track.
            let _ = timeout(POLL, self.watch.news()).await;
        }
    }

    /// Returns the first points. Without a cursor that is the last position; earlier ones only serve to compute the
    /// speed.
    async fn begin(&mut self) -> Result<Vec<TrackPoint>, Status> {
        let mut last = read(self.api.parts.tracks.last(self.ride, STRETCH).await)?;
        if self.cursor > 0 {
            self.stretch.extend(last.iter().filter(|point| point.sequence <= self.cursor));
            return self.more().await;
        }
        let newest = last.pop();
        self.stretch.extend(last);
        Ok(newest.into_iter().collect())
    }

    async fn more(&self) -> Result<Vec<TrackPoint>, Status> {
        read(self.api.parts.tracks.after(self.ride, self.cursor, PAGE).await)
    }

    fn position(&mut self, point: TrackPoint, destination: Option<Place>) -> v1::RidePosition {
        self.cursor = point.sequence;
        if self.stretch.len() == STRETCH {
            self.stretch.pop_front();
        }
        self.stretch.push_back(point);
        let eta = destination.and_then(|destination| self.eta(destination));
        wire::ride_position(&point, eta)
    }

    /// Estimates the time to a destination from the recent speed. Returns `None` if the ride is standing.
    fn eta(&self, destination: Place) -> Option<Duration> {
        let (first, last) = (self.stretch.front()?, self.stretch.back()?);
        let micros = last.fix.at.0 - first.fix.at.0;
        if micros <= 0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a time of hours, to the microsecond")]
        let speed = (last.meters - first.meters) / (micros as f64 / 1e6);
        if speed < SLOWEST {
            return None;
        }
        Duration::try_from_secs_f64((last.fix.place.meters_to(destination) / speed).round()).ok()
    }
}
