//! What has happened at this market in the last hour, by minutes.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use souk_domain::Timestamp;

/// The number of minutes that are kept.
const MINUTES: usize = 60;
const MINUTE: Duration = Duration::from_secs(60);

/// Counts orders by minutes of the monotonic clock, so that a change of the time of day does not show. Clones share the
/// counts.
#[derive(Clone, Debug)]
pub struct Activity {
    started: Timestamp,
    begun: Instant,
    minutes: Arc<Mutex<Ring>>,
}

/// One count for each of the last minutes.
#[derive(Debug)]
struct Ring {
    /// The number of the minute that the last count is of, from the start.
    newest: u64,
    counts: [u64; MINUTES],
}

impl Activity {
    /// Creates empty counts of a market that was started at a time.
    pub fn start(now: Timestamp) -> Self {
        Self {
            started: now,
            begun: Instant::now(),
            minutes: Arc::new(Mutex::new(Ring { newest: 0, counts: [0; MINUTES] })),
        }
    }

    /// Returns when the market was started.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// Counts orders that were placed now.
    pub fn placed(&self, orders: u64) {
        if orders > 0 {
            let mut ring = self.ring(self.begun.elapsed());
            let newest = ring.place(0);
            ring.counts[newest] += orders;
        }
    }

    /// Returns the number of orders in the last full minute, and in the last hour.
    pub fn orders(&self) -> (u64, u64) {
        self.orders_at(self.begun.elapsed())
    }

    fn orders_at(&self, elapsed: Duration) -> (u64, u64) {
        let ring = self.ring(elapsed);
        (ring.counts[ring.place(1)], ring.counts.iter().sum())
    }

    /// Locks the counts and clears the minutes that have passed since. Never held across an await point; a poisoned lock
    /// is used as it is, because a wrong count is only a wrong figure.
    fn ring(&self, elapsed: Duration) -> MutexGuard<'_, Ring> {
        let mut ring = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        let now = elapsed.as_secs() / MINUTE.as_secs();
        let passed = now.saturating_sub(ring.newest).min(MINUTES as u64);
        ring.newest = ring.newest.max(now);
        for minutes_ago in 0..passed {
            let place = ring.place(minutes_ago);
            ring.counts[place] = 0;
        }
        ring
    }
}

impl Ring {
    fn place(&self, minutes_ago: u64) -> usize {
        let minutes = MINUTES as u64;
        usize::try_from((self.newest + minutes - minutes_ago % minutes) % minutes).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_counted_for_an_hour() {
        let activity = Activity::start(Timestamp(7));
        let minute = |minute: u64| Duration::from_secs(60 * minute);
        let place = |at: u64, orders: u64| {
            let mut ring = activity.ring(minute(at));
            let newest = ring.place(0);
            ring.counts[newest] += orders;
        };
        place(0, 5);
        assert_eq!(activity.orders_at(minute(0)), (0, 5));
        assert_eq!(activity.orders_at(minute(1)), (5, 5));
        place(2, 3);
        assert_eq!(activity.orders_at(minute(2)), (0, 8));
        assert_eq!(activity.orders_at(minute(3)), (3, 8));
        // The first minute is over an hour ago, then everything is.
        assert_eq!(activity.orders_at(minute(60)), (0, 3));
        assert_eq!(activity.orders_at(minute(61)), (0, 3));
        assert_eq!(activity.orders_at(minute(62)), (0, 0));
        place(1_000, 2);
        assert_eq!(activity.orders_at(minute(1_001)), (2, 2));
        activity.placed(4);
        assert_eq!(activity.started(), Timestamp(7));
    }
}
