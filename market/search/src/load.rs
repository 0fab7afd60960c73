//! The lag of the index and the load of searches.

use std::time::Duration;

use souk_domain::PartyId;
use souk_store::FeedPosition;

use super::{HitCounts, IMPORT_LAG, Search, Shared, indexer::Progress};

/// How long the index may lag behind before its answers count as stale. Longer than searches wait for it.
pub const STALE_AFTER: Duration = Duration::from_secs(3);

/// The lag of the index and the load of searches, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchLoad {
    /// The feed position up to which searches see everything.
    pub indexed: FeedPosition,
    /// The end of the feed, as far as it was reported. The index lags if this is higher than `indexed`.
    pub moved: FeedPosition,
    /// Whether the index has caught up with the store since the market was opened. Until then searches wait.
    pub level: bool,
    /// The number of searches in progress, including those that wait.
    pub searches: usize,
    /// The number of searches that occupy a thread.
    pub running: usize,
    /// The number of threads that search.
    pub threads: usize,
}

impl Search {
    /// Returns the lag of the index and the number of searches in progress.
    pub fn load(&self) -> SearchLoad {
        let Progress { indexed, level, .. } = self.progress();
        let moved = self.moved();
        let Shared { gate, pool, .. } = &*self.shared;
        let (searches, running, threads) = (gate.taken(), pool.running(), pool.threads());
        SearchLoad { indexed, moved: moved.max(indexed), level, searches, running, threads }
    }

    /// Returns for how long the searches of each party occupied a thread, since the last time that this was called.
    pub fn take_used(&self) -> Vec<(PartyId, Duration)> {
        self.shared.pool.take_used()
    }

    /// Returns for how long searches may have lacked changes, if that is longer than [`STALE_AFTER`]: the index can't
    /// be written, or a transaction that is left open hides what was committed after it. `None` if they are current.
    pub fn stale_for(&self) -> Option<Duration> {
        self.lag().filter(|lag| *lag > STALE_AFTER)
    }

    /// Returns for how long the index has lacked changes; `None` if it has everything, or is being built.
    pub fn lag(&self) -> Option<Duration> {
        let progress = self.progress();
        let is_behind = progress.level && progress.indexed < self.moved();
        progress.behind_since.filter(|_| is_behind).map(|since| since.elapsed())
    }

    /// Returns whether imports should wait for the index.
    pub(super) fn is_far_behind(&self) -> bool {
        // In time rather than in positions of the feed, which are not numbers of changes on every store.
        let is_far = self.lag().is_some_and(|lag| lag > IMPORT_LAG && lag <= STALE_AFTER);
        is_far && self.failure().is_none()
    }

    /// Returns why the index can't be written at the moment; `None` if it can.
    pub fn failure(&self) -> Option<String> {
        self.shared.live.failing.load().as_deref().map(|failing| failing.reason.clone())
    }

    /// Returns how hits were completed, for metrics.
    pub fn hit_counts(&self) -> HitCounts {
        self.shared.hits.counts()
    }
}
