//! How far the opening of a store has come, if its schema has to be brought up to date.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How often progress is logged, in percent.
const LOG_STEP: u8 = 10;

/// A migration that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrating {
    /// The number of the migration.
    pub number: usize,
    /// How far it has come. It may stay at 99 for a while.
    pub percent: u8,
}

impl fmt::Display for Migrating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "migrating: {:04} {} %", self.number, self.percent)
    }
}

/// The progress of opening a store, for those who wait for it. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct OpeningProgress(Arc<Mutex<Option<Migrating>>>);

impl OpeningProgress {
    /// Returns the migration that is under way; `None` if there is none.
    pub fn migrating(&self) -> Option<Migrating> {
        *self.lock()
    }

    /// Reports that `done` of `all` rows are migrated, and logs each tenth part.
    pub(crate) fn report(&self, number: usize, done: i64, all: i64) {
        let share = if all > 0 { done.clamp(0, all).saturating_mul(100) / all } else { 0 };
        let now = Migrating { number, percent: u8::try_from(share).unwrap_or(0).min(99) };
        let before = self.lock().replace(now);
        let tenth = |state: Migrating| (state.number, state.percent / LOG_STEP);
        if before.map(tenth) != Some(tenth(now)) {
            tracing::info!("{now}");
        }
    }

    /// Reports that the schema is up to date, at a version.
    pub(crate) fn end(&self, version: usize) {
        if self.lock().take().is_some() {
            tracing::info!("migrated to schema {version}");
        }
    }

    /// Locks the state. A poisoned lock is safe to use: it is replaced as a whole.
    fn lock(&self) -> MutexGuard<'_, Option<Migrating>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
