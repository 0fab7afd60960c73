//! The only lane: one transaction per batch, on its own connection.
//!
//! The ledger runs each lane on its own thread, so blocking calls are fine here.

use std::{fs::File, sync::Arc};

use async_trait::async_trait;
use rusqlite::Connection;
use souk_domain::{Keys, WorkingSet};
use tokio::sync::OwnedMutexGuard;

use super::{Turn, checkpoint::Checkpointer, error::unavailable, load, save};
use crate::{Lane, Receipt, SaveError, StoreError};

pub(super) struct SqliteLane {
    connection: Connection,
    turn: Turn,
    /// The writers' turn, held from the beginning of a transaction to its end.
    taken: Option<OwnedMutexGuard<()>>,
    checkpointer: Checkpointer,
    /// The lock on the store's file, released when the lane is dropped.
    _lock: File,
}

impl SqliteLane {
    pub(super) fn new(connection: Connection, turn: Turn, checkpointer: Checkpointer, lock: File) -> Self {
        Self { connection, turn, taken: None, checkpointer, _lock: lock }
    }

    fn roll_back(&mut self) {
        // An error means that SQLite has already rolled back.
        if let Err(error) = self.connection.execute_batch("ROLLBACK") {
            tracing::debug!(%error, "nothing to roll back");
        }
        self.taken = None;
    }

    fn commit(&mut self, rows: &WorkingSet) -> Result<Receipt, SaveError> {
        let saved =
            save::save(&self.connection, rows).map_err(|error| SaveError::Lost(unavailable(error)))?;
        self.connection.execute_batch("COMMIT").map_err(|error| {
            // If the transaction is still open, nothing has been committed. If it has ended, the error may
            // have come after the write to the log, and it is unknown whether the commit survives.
            if self.connection.is_autocommit() {
                SaveError::Indefinite(unavailable(error))
            } else {
                SaveError::Lost(unavailable(error))
            }
        })?;
        Ok(saved)
    }
}

#[async_trait]
impl Lane for SqliteLane {
    async fn load(&mut self, keys: &Keys) -> Result<WorkingSet, StoreError> {
        // Held across `await` points until the transaction ends, hence an owned guard of an async mutex.
        self.taken = Some(Arc::clone(&self.turn).lock_owned().await);
        // IMMEDIATE takes SQLite's write lock now. A deferred transaction would take it at the first write,
        // after it has read, and could fail there because its snapshot is out of date.
        let loaded = self
            .connection
            .execute_batch("BEGIN IMMEDIATE")
            .and_then(|()| load::load(&self.connection, keys));
        loaded.map_err(|error| {
            self.roll_back();
            unavailable(error)
        })
    }

    async fn save(&mut self, rows: &WorkingSet) -> Result<Receipt, SaveError> {
        let saved = self.commit(rows);
        match saved {
            Ok(_) => {
                // The turn is released first, so that a waiting mailbox operation is not delayed.
                self.taken = None;
                // Only counts. A checkpoint here would make the next batch wait for it.
                self.checkpointer.committed();
            }
            // Also if the outcome is unknown: the connection must not stay in a transaction, and the turn has
            // to be released.
            Err(_) => self.roll_back(),
        }
        saved
    }

    async fn abandon(&mut self) {
        self.roll_back();
    }
}
