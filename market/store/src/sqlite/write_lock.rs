//! Reports in the store's health that another process keeps the write lock, such as a `sqlite3` with an open transaction.
//!
//! Nothing is lost then, but no change can be committed, and every writer waits and fails. The market's own writers take
//! turns outside SQLite and hold the lock for a batch at most.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::Health;

/// How long a writer waits for another process before the store counts as held up.
const HELD_AFTER: Duration = Duration::from_secs(2);

/// Whether another process keeps the writers out. Clones share it.
#[derive(Clone)]
pub(super) struct WriteLock {
    health: Health,
    /// What to tell operators.
    reason: Arc<str>,
    is_held: Arc<AtomicBool>,
}

impl WriteLock {
    pub(super) fn new(health: Health, path: &Path) -> Self {
        let path = path.display();
        let reason = format!(
            "another process holds the write lock of {path}: changes wait and fail; find it (fuser -v {path}) and end its transaction"
        );
        Self { health, reason: reason.into(), is_held: Arc::default() }
    }

    /// Notes that a writer has waited for so long.
    pub(super) fn waited(&self, waited: Duration) {
        if waited >= HELD_AFTER && !self.is_held.swap(true, Ordering::Relaxed) {
            self.health.hold_up(&self.reason);
            tracing::warn!("{}", self.reason);
        }
    }

    /// Notes that a writer has got the lock. Called for each transaction.
    pub(super) fn taken(&self) {
        if self.is_held() && self.is_held.swap(false, Ordering::Relaxed) {
            self.health.go_on();
            tracing::info!(
                "the other process has released the write lock of the store; the market writes again"
            );
        }
    }

    /// Returns whether another process keeps the writers out, as far as is known.
    pub(super) fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Relaxed)
    }
}
