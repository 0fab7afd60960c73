//! A bound on the log lines about refused calls. A party can have any number of calls refused, within no rate, and must
//! not be able to fill the log with them.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use quick_cache::sync::Cache;
use souk_certs::identity::Identity;
use tokio::{runtime::Handle, time::sleep};

/// Maximum number of lines per second about refused calls of one party.
const LINES_PER_SECOND: u32 = 10;
const SECOND: Duration = Duration::from_secs(1);
/// Maximum number of parties whose lines are counted. An evicted party gains at most the lines of a second.
const PARTIES: usize = 4_096;

/// Counts the lines about refused calls. Clones share the counts.
#[derive(Clone)]
pub(super) struct RefusedLines(Arc<Cache<Identity, Arc<Mutex<Counted>>>>);

/// The lines about one party in the present second.
#[derive(Debug)]
struct Counted {
    began: Instant,
    written: u32,
    left_out: u64,
}

impl Counted {
    fn begin(now: Instant) -> Self {
        Self { began: now, written: 0, left_out: 0 }
    }

    /// Counts a line. Returns whether it may be written, and whether it is the first that may not.
    fn add(&mut self, now: Instant) -> (bool, bool) {
        // What was left out before has its own line already, or will have.
        if now.saturating_duration_since(self.began) >= SECOND {
            (self.began, self.written) = (now, 0);
        }
        if self.written < LINES_PER_SECOND {
            self.written += 1;
            return (true, false);
        }
        self.left_out += 1;
        (false, self.left_out == 1)
    }
}

impl fmt::Debug for RefusedLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefusedLines").finish_non_exhaustive()
    }
}

impl Default for RefusedLines {
    fn default() -> Self {
        Self(Arc::new(Cache::new(PARTIES)))
    }
}

impl RefusedLines {
    /// Returns whether the line about a refused call of a party may be written. Those that may not are counted, and
    /// `report` is called with their number a second later.
    pub(super) fn admit(&self, party: Identity, report: impl FnOnce(u64) + Send + 'static) -> bool {
        let now = Instant::now();
        let counted = self.0.get(&party).unwrap_or_else(|| {
            let fresh = Arc::new(Mutex::new(Counted::begin(now)));
            self.0.insert(party, Arc::clone(&fresh));
            fresh
        });
        let (may_be_written, is_first) = counted.lock().unwrap_or_else(PoisonError::into_inner).add(now);
        // Without a runtime the server thread has ended, and nothing more is refused.
        if let (true, Ok(runtime)) = (is_first, Handle::try_current()) {
            runtime.spawn(async move {
                sleep(SECOND).await;
                let left_out =
                    std::mem::take(&mut counted.lock().unwrap_or_else(PoisonError::into_inner).left_out);
                report(left_out);
            });
        }
        may_be_written
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn each_party_has_its_lines_and_the_rest_is_counted() {
        let lines = RefusedLines::default();
        let (sender, reports) = mpsc::channel();
        let refuse = |party: u128, times: usize| {
            let party = Identity::Buyer(Uuid::from_u128(party));
            let admit = || {
                let sender = sender.clone();
                lines.admit(party, move |count| sender.send(count).unwrap())
            };
            (0..times).filter(|_| admit()).count()
        };
        // In one second, unless the machine stalls; then a few lines more are written.
        assert!(refuse(1, 10_000) < 1_000);
        assert_eq!(refuse(2, 10), 10);
        drop(sender);
        let reported = tokio::task::spawn_blocking(move || reports.recv_timeout(Duration::from_secs(20)));
        assert!(reported.await.unwrap().unwrap() > 9_000);
    }

    #[test]
    fn a_new_second_has_new_lines() {
        let begin = Instant::now();
        let mut counted = Counted::begin(begin);
        let written = (0..LINES_PER_SECOND * 2).filter(|_| counted.add(begin).0).count();
        assert_eq!(written, LINES_PER_SECOND as usize);
        assert_eq!(counted.left_out, u64::from(LINES_PER_SECOND));
        assert_eq!(counted.add(begin + SECOND), (true, false));
    }
}
