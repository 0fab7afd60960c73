//! Whether the store can keep its promises.
//!
//! A back end reports here what no single call can: that its disk is full, that its file is gone, or that a
//! sync has failed. The market shows the state in `/readyz`, and ends when it is [`HealthState::Failed`].

use tokio::sync::watch;

/// The state of an open store. Clones share it.
#[derive(Clone, Debug)]
pub struct Health {
    state: watch::Sender<HealthState>,
}

/// What the store can do at the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HealthState {
    /// The store reads and writes.
    #[default]
    Healthy,
    /// The disk is full: the store reads, but writes nothing until there is space again.
    Full,
    /// Another process keeps the store from writing. Changes wait and fail, and nothing is lost.
    HeldUp {
        /// What it holds, for operators.
        reason: String,
    },
    /// The file that the store has open is no longer the one at its path. Nothing is acknowledged.
    Detached {
        /// What happened to the file, for operators.
        reason: String,
    },
    /// It is unknown what is on the disk. Nothing is acknowledged, and the process must end: only a new start
    /// can find out.
    Failed {
        /// What has failed, for operators.
        reason: String,
    },
}

impl Default for Health {
    fn default() -> Self {
        Self { state: watch::Sender::new(HealthState::Healthy) }
    }
}

impl Health {
    /// Returns the current state.
    pub fn state(&self) -> HealthState {
        self.state.borrow().clone()
    }

    /// Returns a receiver that is notified of each change. It has seen the current state.
    pub fn changed(&self) -> watch::Receiver<HealthState> {
        self.state.subscribe()
    }

    /// Enters a state, and returns whether it differs from the one before. [`HealthState::Failed`] is final.
    ///
    /// The caller logs the change if this returns true, so that there is one line per change.
    pub fn set(&self, state: HealthState) -> bool {
        self.state.send_if_modified(|current| {
            if matches!(current, HealthState::Failed { .. }) || *current == state {
                return false;
            }
            *current = state;
            true
        })
    }

    /// Returns why nothing may be acknowledged: the file is not where it should be, or a sync has failed.
    pub(crate) fn stopped(&self) -> Option<String> {
        match &*self.state.borrow() {
            HealthState::Healthy | HealthState::Full | HealthState::HeldUp { .. } => None,
            HealthState::Detached { reason } | HealthState::Failed { reason } => Some(reason.clone()),
        }
    }

    /// Enters [`HealthState::HeldUp`] from [`HealthState::Healthy`]; the other states take precedence.
    pub(crate) fn hold_up(&self, reason: &str) {
        self.state.send_if_modified(|current| {
            let is_news = *current == HealthState::Healthy;
            if is_news {
                *current = HealthState::HeldUp { reason: reason.to_owned() };
            }
            is_news
        });
    }

    /// Leaves [`HealthState::HeldUp`].
    pub(crate) fn go_on(&self) {
        self.state.send_if_modified(|current| {
            let was_held_up = matches!(current, HealthState::HeldUp { .. });
            if was_held_up {
                *current = HealthState::Healthy;
            }
            was_held_up
        });
    }

    /// Leaves [`HealthState::Detached`], and returns whether that was the state.
    pub(crate) fn attach(&self) -> bool {
        // Read first, because this is called for each batch, and writing excludes readers.
        matches!(&*self.state.borrow(), HealthState::Detached { .. }) && self.set(HealthState::Healthy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_is_final_and_changes_are_reported_once() {
        let health = Health::default();
        let failed = HealthState::Failed { reason: "sync".into() };
        assert!(health.set(HealthState::Full));
        assert!(!health.set(HealthState::Full), "no change");
        assert!(health.set(failed.clone()));
        assert!(!health.set(HealthState::Healthy));
        assert_eq!(health.state(), failed);
    }
}
