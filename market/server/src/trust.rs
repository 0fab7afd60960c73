//! What the market knows of the authority's trust bundles: the newest one, for clients, and when the authority was last
//! reached.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use souk_domain::Timestamp;
use souk_enrolment::trust::SignedBundle;
use souk_proto::v1;
use tokio::sync::watch;

/// The authority is being heard at the moment.
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
    heard_at: Arc<AtomicI64>,
}

impl Default for TrustNews {
    /// Of a market that follows no authority.
    fn default() -> Self {
        Self { newest: watch::Sender::new(None), heard_at: Arc::new(AtomicI64::new(FOLLOWS_NONE)) }
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
    pub fn heard_at(&self, at: Timestamp) {
        self.heard_at.store(at.0, Ordering::Relaxed);
    }

    /// Notes that the authority has been reached, and that news will come at once until [`heard_at`](Self::heard_at).
    pub fn connected(&self) {
        self.heard_at.store(CONNECTED, Ordering::Relaxed);
    }

    /// Returns for how many seconds the authority has not been reached. 0 while it is, and for a market that follows none.
    pub fn age_seconds(&self, now: Timestamp) -> i64 {
        match self.heard_at.load(Ordering::Relaxed) {
            CONNECTED | FOLLOWS_NONE => 0,
            at => now.0.saturating_sub(at).max(0) / 1_000_000,
        }
    }
}
