//! TrackRide: receives the positions that a courier streams.

use std::time::Duration;

use souk_domain::{PartyId, Refusal, RideId, Timestamp};
use souk_proto::v1::{self, track_ride_request::Message};
use souk_store::Fix;
use tokio::time::Instant;
use tonic::{Status, Streaming};

use super::{Api, in_its_own_task, open_ride, out_of_place, read, within};
use crate::wire::{self, command, query};

/// Maximum number of rejected positions described in the response. All are counted.
const MAX_ERRORS: usize = 100;
/// Minimum time between two stored positions, which bounds the size of a track.
const KEPT_EVERY: Duration = Duration::from_secs(1);
/// Maximum number of positions stored together.
const BATCH: usize = 64;
/// Maximum time that a position waits for others to be stored with.
const FLUSH: Duration = Duration::from_secs(1);
/// Maximum time between two messages of a courier.
const IDLE: Duration = Duration::from_secs(60);
/// How far the courier's clock may be ahead of the market's.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The state of a stream of positions.
pub(super) struct Tracking {
    api: Api,
    ride: RideId,
    seller: PartyId,
    /// Valid positions that have not been stored yet.
    batch: Vec<Fix>,
    /// When the batch must be stored. `None` if it is empty.
    due: Option<Instant>,
    /// The last valid position, whether it is stored or not.
    last: Option<Fix>,
    kept: Option<Timestamp>,
    done: v1::TrackRideResponse,
}

impl Tracking {
    /// Receives positions until the courier closes the stream. Runs in a separate task: if the courier disconnects,
    /// tonic drops the call, but the positions received before must still be stored.
    pub(super) async fn run(
        api: Api,
        seller: PartyId,
        positions: Streaming<v1::TrackRideRequest>,
    ) -> Result<v1::TrackRideResponse, Status> {
        in_its_own_task(Self::take_all(api, seller, positions)).await
    }

    async fn take_all(
        api: Api,
        seller: PartyId,
        mut positions: Streaming<v1::TrackRideRequest>,
    ) -> Result<v1::TrackRideResponse, Status> {
        let first = within(IDLE, "position", positions.message()).await?.and_then(|first| first.message);
        let Some(Message::RideId(id)) = first else {
            return Err(out_of_place("the first message of the stream must be the ride's id"));
        };
        let ride = query::ride_id(&id)?;
        // From the store, because an earlier stream of this ride may have ended at another market.
        let last = read(api.parts.tracks.last(ride, 1).await)?.pop().map(|point| point.fix);
        let mut tracking = Tracking {
            api,
            ride,
            seller,
            batch: Vec::with_capacity(BATCH),
            due: None,
            last,
            kept: last.map(|fix| fix.at),
            done: v1::TrackRideResponse::default(),
        };
        tracking.check_ride().await?;
        match tracking.take(&mut positions).await {
            Ok(()) => Ok(tracking.done),
            Err(status) => Err(tracking.interrupted(&status)),
        }
    }

    async fn take(&mut self, positions: &mut Streaming<v1::TrackRideRequest>) -> Result<(), Status> {
        loop {
            let due = self.due;
            let flush = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            // A message that is half received stays in `positions`. Only the idle time starts again, at most once per batch.
            let message = tokio::select! {
                message = within(IDLE, "position", positions.message()) => message,
                () = flush => {
                    self.flush().await?;
                    continue;
                }
            };
            let message = match message {
                Ok(Some(message)) => message.message,
                Ok(None) => return self.flush().await,
                Err(status) => {
                    // The stream has broken. Positions that were received completely are stored.
                    self.flush().await?;
                    return Err(status);
                }
            };
            match message {
                Some(Message::Position(position)) => self.add(&position),
                Some(Message::RideId(_)) => return Err(out_of_place("the ride's id may come but once")),
                None => return Err(out_of_place("a message of the stream carries nothing")),
            }
            if self.batch.len() >= BATCH {
                self.flush().await?;
            }
        }
    }

    fn add(&mut self, position: &v1::TrackedPosition) {
        self.done.received_count += 1;
        match self.check(position) {
            Ok(fix) => {
                let meters = self.last.map_or(0.0, |last| last.place.meters_to(fix.place));
                self.done.distance_meters += meters;
                self.last = Some(fix);
                if self.kept.is_none_or(|kept| fix.at >= kept.plus(KEPT_EVERY)) {
                    self.kept = Some(fix.at);
                    self.batch.push(fix);
                    // Counted from the first position of a batch; a later one must not postpone it.
                    self.due.get_or_insert_with(|| Instant::now() + FLUSH);
                }
            }
            Err(message) => {
                self.done.failed_count += 1;
                if self.done.errors.len() < MAX_ERRORS {
                    let number = self.done.received_count;
                    self.done.errors.push(v1::PositionError { number, message });
                }
            }
        }
    }

    fn check(&self, position: &v1::TrackedPosition) -> Result<Fix, String> {
        let fix = command::fix(position)?;
        // Order is required because the distance is summed up, and a courier that resumes must not add a part
        // twice.
        if self.last.is_some_and(|last| fix.at <= last.at) {
            return Err(
                "time is not later than that of the position before; send them in their order".to_owned()
            );
        }
        if fix.at > self.api.parts.clock.now().plus(CLOCK_SKEW) {
            return Err("time is in the future; check the courier's clock".to_owned());
        }
        Ok(fix)
    }

    async fn flush(&mut self) -> Result<(), Status> {
        self.due = None;
        if self.batch.is_empty() {
            return Ok(());
        }
        self.check_ride().await?;
        read(self.api.parts.tracks.lengthen(self.ride, &self.batch).await)?;
        self.done.kept_count += i64::try_from(self.batch.len()).unwrap_or(0);
        self.batch.clear();
        // After the positions are stored, since watchers read them from the store.
        self.api.parts.rides.notify(self.ride);
        Ok(())
    }

    /// Checks that the ride is still in progress; it may have ended since the stream started.
    async fn check_ride(&self) -> Result<(), Status> {
        let ride = open_ride(&self.api, self.ride).await?;
        if ride.seller != self.seller {
            return Err(wire::refusal(&Refusal::RideNotFound(self.ride)));
        }
        // Checked for each batch, because the ride may end while its courier keeps sending.
        if ride.ended_at.is_some() {
            return Err(wire::refusal(&Refusal::RideEnded(self.ride)));
        }
        Ok(())
    }

    fn interrupted(&self, status: &Status) -> Status {
        let kept = self.done.kept_count;
        wire::with_message(status, &format!("{}; {kept} positions before that are kept", status.message()))
    }
}
