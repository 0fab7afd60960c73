//! Tracks of rides, as one list of points per ride.

use async_trait::async_trait;
use souk_domain::{RideId, Timestamp};

use super::{Memory, rows::Deletion};
use crate::{Fix, StoreError, TrackPoint, Tracks};

#[async_trait]
impl Tracks for Memory {
    async fn lengthen(&self, ride: RideId, fixes: &[Fix], stored_at: Timestamp) -> Result<(), StoreError> {
        let mut state = self.state();
        let track = state.tracks.entry(ride).or_default();
        for fix in fixes {
            let end = track.last().map(|(point, _)| *point);
            if end.is_none_or(|end| fix.at > end.fix.at) {
                track.push((TrackPoint::after(end, *fix), stored_at));
            }
        }
        Ok(())
    }

    async fn last(&self, ride: RideId, count: usize) -> Result<Vec<TrackPoint>, StoreError> {
        let state = self.state();
        let track = state.tracks.get(&ride).map_or(&[][..], Vec::as_slice);
        Ok(track[track.len().saturating_sub(count)..].iter().map(|(point, _)| *point).collect())
    }

    async fn after(&self, ride: RideId, after: i64, limit: usize) -> Result<Vec<TrackPoint>, StoreError> {
        let state = self.state();
        let track = state.tracks.get(&ride).into_iter().flatten();
        let points = track.map(|(point, _)| *point);
        Ok(points.filter(|point| point.sequence > after).take(limit).collect())
    }

    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut deletion = Deletion::of_at_most(limit);
        for track in self.state().tracks.values_mut() {
            track.retain(|(_, stored_at)| deletion.keeps(*stored_at < before));
        }
        Ok(deletion.deleted())
    }
}
