//! Heartbeats of the server threads. Each thread records the time on its own runtime, so that a health check detects
//! a thread that is blocked or has died.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval};

/// Interval between two heartbeats of a thread.
const BEAT: Duration = Duration::from_millis(500);
/// A thread without a heartbeat for this long is considered blocked or dead.
const STALLED: Duration = Duration::from_secs(10);
/// Recorded by a thread that has ended because of a shutdown. It never looks stale.
const ENDED: u64 = u64::MAX;

/// The heartbeats of all server threads. Clones share them.
#[derive(Clone)]
pub struct Pulses {
    since: Instant,
    beats: Arc<[AtomicU64]>,
}

impl Pulses {
    pub(super) fn new(threads: usize) -> Self {
        Self { since: Instant::now(), beats: (0..threads).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Records heartbeats of a thread until the future is dropped.
    pub(super) async fn beat(self, thread: usize) {
        let mut beats = interval(BEAT);
        // The default would make up for missed beats with a burst, which proves nothing about the thread now.
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            self.note(thread, self.now());
        }
    }

    /// Records that a thread has ended because of a shutdown.
    pub(super) fn end(&self, thread: usize) {
        self.note(thread, ENDED);
    }

    /// Returns whether every thread has a recent heartbeat or has ended because of a shutdown.
    pub fn are_well(&self) -> bool {
        let oldest = self.now().saturating_sub(millis(STALLED));
        // Relaxed suffices: each beat is a number of its own, and no other memory is read because of it.
        self.beats.iter().all(|beat| beat.load(Ordering::Relaxed) >= oldest)
    }

    fn note(&self, thread: usize, time: u64) {
        if let Some(beat) = self.beats.get(thread) {
            beat.store(time, Ordering::Relaxed);
        }
    }

    fn now(&self) -> u64 {
        millis(self.since.elapsed())
    }
}

fn millis(time: Duration) -> u64 {
    // Stays below `ENDED`, so that no time can be mistaken for the mark of a shutdown.
    u64::try_from(time.as_millis()).unwrap_or(ENDED - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_hangs_is_seen_and_one_that_ended_is_not_missed() {
        let mut pulses = Pulses::new(2);
        assert!(pulses.are_well(), "threads that have just been started are given time");
        pulses.since = Instant::now().checked_sub(STALLED * 2).unwrap();
        assert!(!pulses.are_well());
        let beating = tokio::spawn(pulses.clone().beat(0));
        let deadline = Instant::now() + STALLED;
        while pulses.beats[0].load(Ordering::Relaxed) == 0 {
            assert!(Instant::now() < deadline, "the first beat comes at once");
            tokio::task::yield_now().await;
        }
        assert!(!pulses.are_well(), "the other one still hangs");
        pulses.end(1);
        assert!(pulses.are_well());
        beating.abort();
    }
}
