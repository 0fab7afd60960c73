//! What an attacker has done so far, and how much CPU time it may use.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time::sleep;

/// The CPU time of this thread in nanoseconds comes first in this file (Linux, `sched-stats.rst`).
const CPU_TIME: &str = "/proc/thread-self/schedstat";
/// The CPU time is read after this many hits at most.
const HITS_PER_LOOK: u64 = 16;
/// How long an attacker that has used more than its share sleeps.
const REST: Duration = Duration::from_millis(2);

/// Counts hits. Clones share the count. All of them are used on one thread.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    hits: Arc<AtomicU64>,
    began: Instant,
    /// The share of a core that the attacker may use; `None` means as much as it gets.
    share: Option<f64>,
}

impl Pace {
    pub(super) fn new(share: Option<f64>) -> Self {
        Self { hits: Arc::default(), began: Instant::now(), share }
    }

    /// Returns the number of hits so far.
    pub(super) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Counts hits: calls, connections or frames, whatever the case is about. Sleeps while the CPU time is used up.
    pub(super) async fn hit(&self, hits: u64) {
        let before = self.hits.fetch_add(hits, Ordering::Relaxed);
        let Some(share) = self.share else { return };
        if before / HITS_PER_LOOK == (before + hits) / HITS_PER_LOOK {
            return;
        }
        while cpu_time().is_some_and(|used| used.as_secs_f64() > share * self.began.elapsed().as_secs_f64()) {
            sleep(REST).await;
        }
    }
}

/// Returns the CPU time of this thread, `None` if it is unknown.
pub(super) fn cpu_time() -> Option<Duration> {
    let text = fs::read_to_string(CPU_TIME).ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
