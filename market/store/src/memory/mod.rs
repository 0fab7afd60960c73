//! The memory back end: for tests, simulation, and markets that may forget.
//!
//! One state behind a mutex that is never held across an await. A lane loads copies and applies what the
//! rules changed when it saves, so nothing half done is ever seen.

mod lane;
mod mailboxes;
mod reads;
mod state;
mod summary;
mod tracks;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Store;
use lane::MemoryLane;
use state::State;

/// A handle to the state; clones share it.
#[derive(Clone, Default)]
struct Memory {
    state: Arc<Mutex<State>>,
}

impl Memory {
    /// No change is left half done by a panic: each is one call on the state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An empty store.
pub fn open() -> Store {
    let memory = Memory::default();
    Store {
        lanes: vec![Box::new(MemoryLane::new(memory.clone()))],
        reads: Arc::new(memory.clone()),
        mailboxes: Arc::new(memory.clone()),
        tracks: Arc::new(memory),
        replicas: None,
    }
}
