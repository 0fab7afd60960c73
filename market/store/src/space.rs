//! Reports a full disk in the store's health, and that there is space again.

use std::{
    fmt::Display,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{Health, HealthState};

/// How often a full disk is logged at most.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// What the writers of a store know about the space on its disk. Clones share it.
#[derive(Clone)]
pub(crate) struct Space {
    health: Health,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The number of writes that failed since the last one that succeeded. 0 while there is space.
    failed: AtomicU64,
    reports: Mutex<Reports>,
}

#[derive(Default)]
struct Reports {
    last: Option<Instant>,
    /// Whether the present want of space has been logged, so that its end is logged too.
    is_open: bool,
}

impl Space {
    pub(crate) fn new(health: Health) -> Self {
        Self { health, shared: Arc::default() }
    }

    /// Notes a write for which there was no space. It has changed nothing.
    pub(crate) fn ran_out(&self, error: &dyn Display) {
        self.health.set(HealthState::Full);
        let failed = self.shared.failed.fetch_add(1, Ordering::Relaxed) + 1;
        let mut reports = self.reports();
        if reports.last.is_none_or(|at| at.elapsed() >= REPORT_INTERVAL) {
            *reports = Reports { last: Some(Instant::now()), is_open: true };
            tracing::error!(
                %error,
                failed,
                "the disk of the store is full: changes are refused and nothing is lost; free some space, and the \
                 market continues by itself"
            );
        }
    }

    /// Notes that there is space again. Not for each write that succeeds: a small one may find room where most do
    /// not, and the market would be ready one moment and not the next.
    pub(crate) fn is_back(&self) {
        if self.shared.failed.swap(0, Ordering::Relaxed) > 0 {
            if self.health.state() == HealthState::Full {
                self.health.set(HealthState::Healthy);
            }
            // Space that comes and goes does not make a line each time.
            if std::mem::take(&mut self.reports().is_open) {
                tracing::info!("the disk of the store has space again");
            }
        }
    }

    fn reports(&self) -> MutexGuard<'_, Reports> {
        self.shared.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the last write failed for want of space.
    pub(crate) fn is_used_up(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_follows_the_space_and_other_states_stay() {
        let health = Health::default();
        let space = Space::new(health.clone());
        space.is_back();
        space.ran_out(&"no space left");
        space.ran_out(&"no space left");
        assert_eq!(health.state(), HealthState::Full);
        space.is_back();
        assert_eq!(health.state(), HealthState::Healthy);
        space.ran_out(&"no space left");
        let failed = HealthState::Failed { reason: "sync".into() };
        health.set(failed.clone());
        space.is_back();
        assert_eq!(health.state(), failed);
    }
}
