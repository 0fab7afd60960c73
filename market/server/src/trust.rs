//! What the market knows of the authority's trust bundles: the newest one, for clients, when the authority was last reached, and
//! how many of its bundles were refused.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use souk_domain::Timestamp;
use souk_enrolment::trust::SignedBundle;
use souk_proto::v1;
use tokio::sync::watch;

/// There is a connection to the authority at the moment.
const CONNECTED: i64 = i64::MAX;
/// The market follows no authority.
const FOLLOWS_NONE: i64 = i64::MIN;

/// A bundle in the form in which it is passed on.
#[derive(Debug)]
pub struct Passed {
    /// Its sequence.
    pub sequence: i64,
    /// The bundle with its signatures.
    pub signed: v1::SignedTrustBundle,
}

/// The newest bundle, and when there was news. Clones share it.
#[derive(Clone, Debug)]
pub struct TrustNews {
    newest: watch::Sender<Option<Arc<Passed>>>,
    /// When the authority was last reached, or one of the constants above.
    reached_at: Arc<AtomicI64>,
    refused: Arc<AtomicU64>,
}

impl Default for TrustNews {
    /// Of a market that follows no authority.
    fn default() -> Self {
        let reached_at = Arc::new(AtomicI64::new(FOLLOWS_NONE));
        Self { newest: watch::Sender::new(None), reached_at, refused: Arc::default() }
    }
}

impl TrustNews {
    /// Replaces the bundle that is passed on to clients.
    pub fn pass_on(&self, sequence: i64, signed: &SignedBundle) {
        let passed = Passed { sequence, signed: signed.clone().into() };
        self.newest.send_replace(Some(Arc::new(passed)));
    }

    /// Returns the newest bundle, which can be waited for.
    pub fn newest(&self) -> watch::Receiver<Option<Arc<Passed>>> {
        self.newest.subscribe()
    }

    /// Notes that the authority is being followed, and that there was news at this time at the latest.
    pub fn reached_at(&self, at: Timestamp) {
        self.reached_at.store(at.0, Ordering::Relaxed);
    }

    /// Notes that the authority has shown that it has no newer bundle than the one in use here, and that a newer one will come
    /// at once, until [`lost_at`](Self::lost_at).
    pub fn connected(&self) {
        self.reached_at.store(CONNECTED, Ordering::Relaxed);
    }

    /// Notes that the connection has ended, or was refused. Changes nothing unless the authority was being reached.
    pub fn lost_at(&self, at: Timestamp) {
        // A failure means that it was not.
        let _ = self.reached_at.compare_exchange(CONNECTED, at.0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Counts a bundle that was refused.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many bundles were refused.
    pub fn refused_bundles(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Returns for how many seconds the authority has not been reached. 0 while it is, and for a market that follows none.
    pub fn age_seconds(&self, now: Timestamp) -> i64 {
        match self.reached_at.load(Ordering::Relaxed) {
            CONNECTED | FOLLOWS_NONE => 0,
            at => now.0.saturating_sub(at).max(0) / 1_000_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000_000)
    }

    #[test]
    fn connection_that_brings_no_bundle_is_no_news() {
        let news = TrustNews::default();
        assert_eq!(news.age_seconds(at(90)), 0, "it follows none");
        news.reached_at(at(10));
        news.lost_at(at(50));
        assert_eq!(news.age_seconds(at(90)), 80);
        news.connected();
        assert_eq!(news.age_seconds(at(90)), 0);
        news.lost_at(at(60));
        news.lost_at(at(70));
        assert_eq!(news.age_seconds(at(90)), 30);
    }
}
