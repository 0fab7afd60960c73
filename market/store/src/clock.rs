//! The steady clock: time as the market has seen it pass.
//!
//! A wall clock can be wrong by days, and jumps when it is corrected. So ages, back-off and leases are never judged by
//! it, but by a *steady* time that only grows while a market runs: the mark that the store holds, plus the monotonic
//! time since. Time during which no market runs does not count. Steady time is in microseconds like a [`Timestamp`]
//! and starts near the wall time, so that the stamps of older versions keep their meaning, but falls behind it with
//! each pause.
//!
//! The mark also remembers the latest wall time, to detect a clock that is set back while the market is stopped. If
//! the clocks disagree, clean-up pauses until they have agreed for [`ClockMark::AGREEMENT`]: steady time keeps deletions
//! right in any case, and the pause gives the operator time to look before anything is deleted.

use std::time::Duration;

use async_trait::async_trait;
use souk_domain::Timestamp;

use super::StoreError;

/// The clocks of all markets on a store, as last reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockMark {
    /// How far steady time has come. It never decreases.
    pub steady: Timestamp,
    /// The latest wall time that was reported since the clocks last disagreed.
    pub wall: Timestamp,
    /// The steady time at which the clocks last disagreed. `None` if they have agreed for [`Self::AGREEMENT`] since,
    /// or an operator has accepted the time.
    pub disagreed_at: Option<Timestamp>,
    /// By how much the clocks disagreed last, in seconds; negative if the wall clock was behind. 0 if they never did.
    pub jump_seconds: i64,
}

/// What a market reports about its clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReport {
    /// The market's steady time; `None` before it has read the mark.
    pub steady: Option<Timestamp>,
    /// The market's wall clock.
    pub wall: Timestamp,
    /// What the market has found out about its wall clock since its last report.
    pub finding: ClockFinding,
}

/// What a market has found out about its wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockFinding {
    /// It agrees with the monotonic clock.
    Agrees,
    /// It has jumped against the monotonic clock by this many seconds.
    Jumped(i64),
    /// An operator says that it is right.
    Accepted,
}

impl ClockMark {
    /// The difference between two clocks above which they disagree.
    pub const TOLERANCE: Duration = Duration::from_secs(60);
    /// How long the clocks must agree, in steady time, before clean-up resumes.
    pub const AGREEMENT: Duration = Duration::from_secs(2 * 3_600);

    /// Returns the mark of a store that has none yet. `newest` is the latest stamp of an older version, in wall time.
    ///
    /// Both it and the wall clock may be wrong. The lower one is taken: if that is wrong, rows are kept for too long,
    /// but none counts as older than it is.
    #[must_use]
    pub fn first(newest: Option<Timestamp>, wall: Timestamp) -> Self {
        let steady = newest.map_or(wall, |newest| newest.min(wall));
        // Compared with the newest stamp, so that a wall clock that is behind it counts as a disagreement.
        Self { steady, wall: newest.unwrap_or(wall), disagreed_at: None, jump_seconds: 0 }
    }

    /// Returns the mark after a report.
    #[must_use]
    pub fn after(self, report: ClockReport) -> Self {
        let steady = report.steady.map_or(self.steady, |steady| steady.max(self.steady));
        let behind_seconds = (self.wall.0.saturating_sub(report.wall.0)) / 1_000_000;
        let is_behind = u64::try_from(behind_seconds).is_ok_and(|behind| behind > Self::TOLERANCE.as_secs());
        let jump = match report.finding {
            ClockFinding::Accepted => return Self { steady, wall: report.wall, disagreed_at: None, ..self },
            ClockFinding::Jumped(seconds) => Some(seconds),
            ClockFinding::Agrees => is_behind.then_some(-behind_seconds),
        };
        match jump {
            // The wall time is taken as it is: from here on, only its course is compared.
            Some(jump_seconds) => {
                Self { steady, wall: report.wall, disagreed_at: Some(steady), jump_seconds }
            }
            None => {
                let disagreed_at = self.disagreed_at.filter(|at| steady < at.plus(Self::AGREEMENT));
                Self { steady, wall: self.wall.max(report.wall), disagreed_at, ..self }
            }
        }
    }

    /// Returns whether clean-up is paused.
    pub fn is_paused(&self) -> bool {
        self.disagreed_at.is_some()
    }

    /// Returns for how long the clocks still have to agree before clean-up resumes; zero if it is not paused.
    pub fn pause_left(&self) -> Duration {
        let end = self.disagreed_at.map_or(self.steady, |at| at.plus(Self::AGREEMENT));
        u64::try_from(end.0.saturating_sub(self.steady.0)).map_or(Duration::ZERO, Duration::from_micros)
    }
}

/// The latest due times that can have been set by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueBounds {
    /// The end of the longest back-off that could begin now.
    pub next_attempt: Timestamp,
    /// The end of a lease that was taken now.
    pub lease_until: Timestamp,
}

/// The steady time of a store.
#[async_trait]
pub trait Clocks: Send + Sync {
    /// Applies [`ClockMark::after`] to the store's mark, and returns the result. Several markets may share the mark;
    /// each adopts a steady time that is ahead of its own.
    ///
    /// Not synced to the disk: the rows that are stamped afterwards are in the same log, so a power loss that forgets
    /// the mark forgets them as well.
    async fn exchange(&self, report: ClockReport) -> Result<ClockMark, StoreError>;

    /// Lowers due times of mailboxes with a callback that lie beyond the bounds, and returns how many mailboxes had
    /// one. No market can have set them by the present clock: they are from an older version under a wrong clock, and
    /// would postpone deliveries for as long.
    async fn clamp_due_times(&self, bounds: DueBounds) -> Result<usize, StoreError>;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400_000_000;
    const START: Timestamp = Timestamp(20_000 * DAY);

    fn report(steady: Timestamp, wall: Timestamp) -> ClockReport {
        ClockReport { steady: Some(steady), wall, finding: ClockFinding::Agrees }
    }

    #[test]
    fn the_lower_of_stamp_and_wall_time_is_the_origin() {
        let newest = Some(Timestamp(START.0 - DAY));
        assert_eq!(ClockMark::first(newest, START).steady.0, START.0 - DAY, "time stopped is not age");
        let ahead = ClockMark::first(Some(Timestamp(START.0 + 40 * DAY)), START);
        assert_eq!(ahead.steady, START, "rows with right stamps do not age by a wrong one");
        assert!(ahead.after(report(START, START)).is_paused());
        assert_eq!(ClockMark::first(None, START).steady, START);
    }

    #[test]
    fn a_clock_that_was_set_back_pauses_until_it_has_agreed_for_two_hours() {
        let mark = ClockMark::first(None, START);
        let back = START.minus(ClockMark::TOLERANCE);
        assert!(!mark.after(report(START, back)).is_paused(), "within the tolerance");
        let back = back.minus(Duration::from_secs(1));
        let paused = mark.after(report(START, back));
        assert_eq!((paused.is_paused(), paused.jump_seconds, paused.wall), (true, -61, back));
        assert_eq!(paused.pause_left(), ClockMark::AGREEMENT);
        let almost = START.plus(ClockMark::AGREEMENT).minus(Duration::from_micros(1));
        assert!(paused.after(report(almost, back.plus(ClockMark::AGREEMENT))).is_paused());
        let over = paused.after(report(START.plus(ClockMark::AGREEMENT), back.plus(ClockMark::AGREEMENT)));
        assert!(!over.is_paused());
        let accepted = ClockReport { finding: ClockFinding::Accepted, ..report(START, back) };
        assert!(!paused.after(accepted).is_paused());
    }

    #[test]
    fn markets_whose_clocks_disagree_stay_paused() {
        let mut mark = ClockMark::first(None, START);
        for second in 1..10_000_i64 {
            let steady = Timestamp(START.0 + second * 1_000_000);
            mark = mark.after(report(steady, steady.plus(Duration::from_secs(40 * 86_400))));
            mark = mark.after(report(steady, steady));
            assert!(mark.is_paused());
        }
    }

    proptest! {
        /// Whatever the wall clock shows, steady time grows exactly with the time that passes.
        #[test]
        fn steady_time_is_independent_of_the_wall_clock(
            steps in prop::collection::vec((0..10_000_000_i64, -50 * DAY..50 * DAY), 1..50)
        ) {
            let mut mark = ClockMark::first(None, START);
            let mut passed = 0;
            for (micros, error) in steps {
                passed += micros;
                let steady = Timestamp(START.0 + passed);
                mark = mark.after(report(steady, Timestamp(steady.0 + error)));
                prop_assert_eq!(mark.steady, steady);
            }
        }
    }
}
