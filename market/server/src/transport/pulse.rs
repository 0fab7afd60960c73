//! Whether the server threads still turn: each notes the time on its own runtime, and whoever asks sees which has not
//! done so for too long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval};

/// How often a thread notes the time.
const BEAT: Duration = Duration::from_millis(500);
/// A thread that has not done so for this long hangs, or has died.
const STALLED: Duration = Duration::from_secs(10);
/// Noted by a thread that ended because it was told to.
const ENDED: u64 = u64::MAX;

/// The pulses of all server threads.
#[derive(Clone)]
pub struct Pulses {
    since: Instant,
    beats: Arc<[AtomicU64]>,
}

impl Pulses {
    pub(super) fn new(threads: usize) -> Self {
        Self { since: Instant::now(), beats: (0..threads).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Notes the time until it is dropped.
    pub(super) async fn beat(self, thread: usize) {
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            self.note(thread, self.now());
        }
    }

    /// The thread has ended as it should.
    pub(super) fn end(&self, thread: usize) {
        self.note(thread, ENDED);
    }

    /// Whether every thread turns, or has ended as it should.
    pub fn are_well(&self) -> bool {
        let oldest = self.now().saturating_sub(millis(STALLED));
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
