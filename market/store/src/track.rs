//! Tracks: where rides have been. None of it needs to survive a power loss.

use async_trait::async_trait;
use souk_domain::{Place, RideId, Timestamp};

use super::StoreError;

/// Where somebody was, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fix {
    /// Where.
    pub place: Place,
    /// When.
    pub at: Timestamp,
}

/// A kept fix of a ride.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrackPoint {
    /// Its place in the track, from 1 up.
    pub sequence: i64,
    /// Where and when.
    pub fix: Fix,
    /// How far the ride had come, in metres.
    pub meters: f64,
}

impl TrackPoint {
    /// The point that follows on another one, or begins a track.
    pub(super) fn after(last: Option<Self>, fix: Fix) -> Self {
        match last {
            None => Self { sequence: 1, fix, meters: 0.0 },
            Some(last) => Self {
                sequence: last.sequence + 1,
                fix,
                meters: last.meters + last.fix.place.meters_to(fix.place),
            },
        }
    }
}

/// The tracks of rides.
#[async_trait]
pub trait Tracks: Send + Sync {
    /// Lengthens a track. Fixes that are not later than the ones before are left out, so that two couriers
    /// of one ride, or one that sends again, do not make it go backwards.
    async fn lengthen(&self, ride: RideId, fixes: &[Fix]) -> Result<(), StoreError>;

    /// The last points of a track, earliest first.
    async fn last(&self, ride: RideId, count: usize) -> Result<Vec<TrackPoint>, StoreError>;

    /// The points after a sequence, earliest first.
    async fn after(&self, ride: RideId, after: i64, limit: usize) -> Result<Vec<TrackPoint>, StoreError>;

    /// Drops up to `limit` points from before a time, and answers how many.
    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;
}
