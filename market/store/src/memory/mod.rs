//! The memory back end, for tests, simulation, and markets whose data may be lost.
//!
//! One state behind a mutex that is never held across an await. A lane loads copies and applies all changes
//! in one call when it saves, so no reader sees a partial batch.

mod archive;
mod backlog;
mod clock;
mod consumers;
mod dead_letters;
mod expand;
mod lane;
mod mailbox;
mod mailboxes;
mod market_keys;
mod orders;
mod ranking;
mod reads;
mod rows;
mod state;
mod summary;
mod tracks;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Health, Store};
use lane::MemoryLane;
use state::State;

/// A handle to the state; clones share it.
#[derive(Clone, Default)]
struct Memory {
    state: Arc<Mutex<State>>,
}

impl Memory {
    /// Locks the state. A poisoned lock is used as it is: every change is one call on the state, so a panic
    /// elsewhere leaves none half-applied.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens an empty store.
pub fn open() -> Store {
    let memory = Memory::default();
    Store {
        lanes: vec![Box::new(MemoryLane::new(memory.clone()))],
        reads: Arc::new(memory.clone()),
        mailboxes: Arc::new(memory.clone()),
        consumers: Arc::new(memory.clone()),
        dead_letters: Arc::new(memory.clone()),
        tracks: Arc::new(memory.clone()),
        clocks: Arc::new(memory.clone()),
        market_keys: Arc::new(memory.clone()),
        upkeep: Arc::new(memory.clone()),
        ranking: Arc::new(memory.clone()),
        archive: Arc::new(memory),
        replicas: None,
        health: Health::default(),
        log: None,
        queues: None,
    }
}
