//! The steady clock: the time that markets on this store have seen pass (`souk_store::ClockMark`).

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use souk_domain::Timestamp;
use souk_store::{ClockFinding, ClockMark, ClockReport, Clocks, StoreError};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Clock, Monotonic};

/// How often the wall clock is compared with the monotonic one.
const LOOK: Duration = Duration::from_secs(1);
/// How often the mark is written if nothing has happened. A crash sets steady time back by at most this much, which
/// must be less than a lease.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// How often the comparison is restarted, so that small corrections over months don't add up to a jump.
const REANCHOR_EVERY: Duration = Duration::from_secs(3_600);

/// The market's steady clock. Clones share it.
#[derive(Clone)]
pub struct SteadyClock {
    shared: Arc<Shared>,
}

struct Shared {
    clocks: Option<Arc<dyn Clocks>>,
    wall: Clock,
    monotonic: Monotonic,
    /// The steady time, in microseconds, at which the monotonic clock was 0. It only grows.
    origin: AtomicI64,
    state: Mutex<State>,
}

struct State {
    mark: ClockMark,
    /// The readings that later ones are compared with.
    anchor: Readings,
    /// A jump that has not been reported to the store yet.
    unreported_jump: Option<i64>,
    reported_at: Duration,
    /// Whether the log says that clean-up is paused.
    is_announced: bool,
}

/// Both clocks at one moment.
#[derive(Clone, Copy)]
struct Readings {
    wall: Timestamp,
    monotonic: Duration,
}

impl SteadyClock {
    /// Continues the steady time of a store.
    ///
    /// # Errors
    ///
    /// Fails if the store can't be read or written.
    pub async fn open(
        clocks: Arc<dyn Clocks>,
        wall: Clock,
        monotonic: Monotonic,
    ) -> Result<Self, StoreError> {
        let first = ClockReport { steady: None, wall: wall.now(), finding: ClockFinding::Agrees };
        let mark = clocks.exchange(first).await?;
        let opened = Self::starting_at(mark, Some(clocks), wall, monotonic);
        opened.announce();
        Ok(opened)
    }

    /// Creates a clock that starts at the wall time and is not stored, for tests of single components.
    pub fn unstored(wall: Clock) -> Self {
        Self::starting_at(ClockMark::first(None, wall.now()), None, wall, Monotonic::SYSTEM)
    }

    fn starting_at(
        mark: ClockMark,
        clocks: Option<Arc<dyn Clocks>>,
        wall: Clock,
        monotonic: Monotonic,
    ) -> Self {
        let anchor = Readings { wall: wall.now(), monotonic: monotonic.elapsed() };
        let state =
            State { mark, anchor, unreported_jump: None, reported_at: anchor.monotonic, is_announced: false };
        let origin = AtomicI64::new(mark.steady.0 - micros(anchor.monotonic));
        Self { shared: Arc::new(Shared { clocks, wall, monotonic, origin, state: Mutex::new(state) }) }
    }

    /// Returns the current steady time.
    pub fn now(&self) -> Timestamp {
        // Relaxed: the origin guards no other memory.
        let origin = self.shared.origin.load(Ordering::Relaxed);
        Timestamp(origin + micros(self.shared.monotonic.elapsed()))
    }

    /// Returns the wall clock, for what people see.
    pub fn wall(&self) -> Clock {
        self.shared.wall
    }

    /// Converts a steady time to the wall time that people should see for it.
    pub fn shown(&self, steady: Timestamp) -> Timestamp {
        Timestamp(self.shared.wall.now().0.saturating_sub(self.now().0.saturating_sub(steady.0)))
    }

    /// Returns whether clean-up is paused, because the clocks disagree.
    pub fn is_paused(&self) -> bool {
        let state = self.state();
        state.unreported_jump.is_some() || state.mark.is_paused()
    }

    /// Returns the mark as last exchanged with the store.
    pub fn mark(&self) -> ClockMark {
        self.state().mark
    }

    /// Compares the clocks and reports to the store, until the market shuts down.
    pub async fn run(self, closing: CancellationToken) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                _ = looks.tick() => {}
            }
            if self.look()
                && let Err(error) = self.report().await
            {
                tracing::debug!(%error, "cannot write the steady clock; trying again");
            }
        }
    }

    /// Writes how far steady time has come, and adopts what other markets have written.
    ///
    /// # Errors
    ///
    /// Fails if the store can't be written. A jump that was found is reported the next time.
    pub async fn report(&self) -> Result<(), StoreError> {
        let finding = self.state().unreported_jump.map_or(ClockFinding::Agrees, ClockFinding::Jumped);
        self.exchange(finding).await
    }

    /// Ends a pause: an operator says that the wall clock is right.
    ///
    /// # Errors
    ///
    /// Fails if the store can't be written.
    pub async fn accept(&self) -> Result<(), StoreError> {
        // Before the exchange: a jump until now is what was accepted, one after this is new.
        self.state().anchor = self.readings();
        self.exchange(ClockFinding::Accepted).await
    }

    async fn exchange(&self, finding: ClockFinding) -> Result<(), StoreError> {
        let Some(clocks) = &self.shared.clocks else { return Ok(()) };
        let report = ClockReport { steady: Some(self.now()), wall: self.shared.wall.now(), finding };
        let mark = clocks.exchange(report).await?;
        let monotonic = self.shared.monotonic.elapsed();
        // Another market has seen more time pass. `fetch_max`, so that no reading goes back.
        self.shared.origin.fetch_max(mark.steady.0 - micros(monotonic), Ordering::Relaxed);
        {
            let mut state = self.state();
            state.mark = mark;
            state.reported_at = monotonic;
            if finding != ClockFinding::Agrees {
                state.unreported_jump = None;
            }
        }
        self.announce();
        Ok(())
    }

    /// Compares the clocks, and returns whether it is time to report.
    fn look(&self) -> bool {
        let now = self.readings();
        let mut state = self.state();
        let passed = micros(now.monotonic.saturating_sub(state.anchor.monotonic));
        let jump_seconds = (now.wall.0 - state.anchor.wall.0 - passed) / 1_000_000;
        if jump_seconds.unsigned_abs() > ClockMark::TOLERANCE.as_secs() {
            state.unreported_jump = Some(jump_seconds);
            state.anchor = now;
        } else if now.monotonic.saturating_sub(state.anchor.monotonic) >= REANCHOR_EVERY {
            state.anchor = now;
        }
        state.unreported_jump.is_some() || now.monotonic.saturating_sub(state.reported_at) >= REPORT_EVERY
    }

    /// Logs the beginning and the end of a pause, once each.
    fn announce(&self) {
        let is_paused = self.is_paused();
        let mut state = self.state();
        if state.is_announced == is_paused {
            return;
        }
        state.is_announced = is_paused;
        if is_paused {
            tracing::warn!(
                jump_seconds = state.mark.jump_seconds,
                "the wall clock disagrees with the time that has passed: nothing is cleaned up until it has agreed for \
                 two hours; see whether the time is right, and run `market clock accept` if it is"
            );
        } else {
            tracing::info!("the clocks agree: clean-up resumes");
        }
    }

    fn readings(&self) -> Readings {
        Readings { wall: self.shared.wall.now(), monotonic: self.shared.monotonic.elapsed() }
    }

    /// Locks the state. A poisoned lock is safe to use: no update under it can panic half-way.
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    const DAY_SECONDS: i64 = 86_400;

    /// A pair of clocks that a test sets, in seconds.
    macro_rules! clocks {
        ($wall:ident, $monotonic:ident) => {{
            static WALL: AtomicI64 = AtomicI64::new(20_000 * DAY_SECONDS);
            static MONOTONIC: AtomicU64 = AtomicU64::new(7);
            $wall = &WALL;
            $monotonic = &MONOTONIC;
            (
                Clock::new(|| Timestamp(WALL.load(Ordering::SeqCst) * 1_000_000)),
                Monotonic::new(|| Duration::from_secs(MONOTONIC.load(Ordering::SeqCst))),
            )
        }};
    }

    #[tokio::test]
    async fn steady_time_ignores_the_wall_clock_and_continues_after_a_restart() {
        let (wall, monotonic): (&AtomicI64, &AtomicU64);
        let (clock, ticks) = clocks!(wall, monotonic);
        let clocks = souk_store::memory::open().clocks;
        let steady = SteadyClock::open(Arc::clone(&clocks), clock, ticks).await.unwrap();
        let start = steady.now();
        assert_eq!(start, clock.now(), "a new store starts at the wall time");
        // Three seconds under a clock that is 40 days ahead.
        wall.fetch_add(40 * DAY_SECONDS, Ordering::SeqCst);
        monotonic.fetch_add(3, Ordering::SeqCst);
        assert_eq!(steady.now(), start.plus(Duration::from_secs(3)));
        assert_eq!(steady.shown(steady.now()), clock.now());
        assert!(steady.look());
        assert!(steady.is_paused(), "even before the store knows");
        steady.report().await.unwrap();
        assert!(steady.is_paused() && steady.mark().jump_seconds >= 40 * DAY_SECONDS - 3);
        // The machine is off for a year, and its clock is right again.
        wall.fetch_add(325 * DAY_SECONDS, Ordering::SeqCst);
        monotonic.store(0, Ordering::SeqCst);
        let again = SteadyClock::open(clocks, clock, ticks).await.unwrap();
        assert_eq!(again.now(), start.plus(Duration::from_secs(3)));
        assert!(again.is_paused(), "the pause survives a restart");
        again.accept().await.unwrap();
        assert!(!again.is_paused());
    }

    #[tokio::test]
    async fn pause_ends_after_two_hours_of_agreement() {
        let (wall, monotonic): (&AtomicI64, &AtomicU64);
        let (clock, ticks) = clocks!(wall, monotonic);
        let steady = SteadyClock::open(souk_store::memory::open().clocks, clock, ticks).await.unwrap();
        let pass = |seconds: i64| {
            wall.fetch_add(seconds, Ordering::SeqCst);
            monotonic.fetch_add(seconds.unsigned_abs(), Ordering::SeqCst);
        };
        wall.fetch_sub(61, Ordering::SeqCst);
        assert!(steady.look());
        steady.report().await.unwrap();
        for minute in 0..120 {
            assert!(steady.is_paused(), "after {minute} minutes");
            pass(60);
            assert!(steady.look(), "a report is due");
            steady.report().await.unwrap();
        }
        assert!(!steady.is_paused());
        wall.fetch_add(60, Ordering::SeqCst);
        assert!(!steady.look() && !steady.is_paused(), "a minute is within the tolerance");
    }

    #[tokio::test]
    async fn market_adopts_the_greater_time_of_another_and_its_pause() {
        let (wall, monotonic): (&AtomicI64, &AtomicU64);
        let (clock, ticks) = clocks!(wall, monotonic);
        let clocks = souk_store::memory::open().clocks;
        let slow = SteadyClock::open(Arc::clone(&clocks), clock, ticks).await.unwrap();
        let ahead = slow.now().plus(Duration::from_secs(30));
        let finding = ClockFinding::Jumped(99);
        clocks.exchange(ClockReport { steady: Some(ahead), wall: clock.now(), finding }).await.unwrap();
        slow.report().await.unwrap();
        assert!(slow.now() >= ahead && slow.is_paused());
        monotonic.fetch_add(1, Ordering::SeqCst);
        wall.fetch_add(1, Ordering::SeqCst);
        assert_eq!(slow.now(), ahead.plus(Duration::from_secs(1)));
    }
}
