//! Tracks: the positions of rides over time. A power loss may forget the last second of a track.

use async_trait::async_trait;
use souk_domain::{Place, RideId, Timestamp};

use super::StoreError;

/// A position at a time, as reported by a courier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fix {
    /// The position that was reported.
    pub place: Place,
    /// When the courier was there, by its own clock.
    pub at: Timestamp,
}

/// A stored fix of a ride.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrackPoint {
    /// The position in the track, from 1.
    pub sequence: i64,
    /// The reported position and time.
    pub fix: Fix,
    /// The length of the track up to this point, in metres.
    pub meters: f64,
}

impl TrackPoint {
    /// Returns the point that continues a track after `last`, or begins one.
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
    /// Appends fixes to a track. A fix that is not later than the last point is skipped, so that two
    /// couriers of one ride, or a retry, can't make the track go backwards.
    ///
    /// `stored_at` is the steady time, from which the age of the points counts.
    async fn lengthen(&self, ride: RideId, fixes: &[Fix], stored_at: Timestamp) -> Result<(), StoreError>;

    /// Returns the last `count` points of a track, earliest first.
    async fn last(&self, ride: RideId, count: usize) -> Result<Vec<TrackPoint>, StoreError>;

    /// Returns up to `limit` points after a sequence, earliest first.
    async fn after(&self, ride: RideId, after: i64, limit: usize) -> Result<Vec<TrackPoint>, StoreError>;

    /// Deletes up to `limit` points that were stored before a steady time, and returns how many.
    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;
}
