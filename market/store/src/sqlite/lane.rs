//! The only lane: one transaction per batch, on its own connection.
//!
//! The ledger runs each lane on its own thread, so blocking calls are fine here.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;
use souk_domain::{Keys, WorkingSet};
use tokio::sync::OwnedMutexGuard;

use super::{Turn, checkpoint::Checkpointer, load, open_files::OpenFiles, save};
use crate::{Lane, Receipt, SaveError, StoreError};

pub(super) struct SqliteLane {
    connection: Connection,
    turn: Turn,
    /// The writers' turn, held from the beginning of a transaction to its end.
    taken: Option<OwnedMutexGuard<()>>,
    checkpointer: Checkpointer,
    /// After the connection, which must be closed before.
    files: Arc<OpenFiles>,
}

impl SqliteLane {
    pub(super) fn new(
        connection: Connection,
        turn: Turn,
        checkpointer: Checkpointer,
        files: Arc<OpenFiles>,
    ) -> Self {
        Self { connection, turn, taken: None, checkpointer, files }
    }

    fn roll_back(&mut self) {
        // An error means that SQLite has already rolled back.
        if let Err(error) = self.connection.execute_batch("ROLLBACK") {
            tracing::debug!(%error, "nothing to roll back");
        }
        self.taken = None;
    }

    fn commit(&mut self, rows: &WorkingSet) -> Result<Receipt, SaveError> {
        let lost = |error| SaveError::Lost(self.files.judge(error));
        let saved = save::save(&self.connection, rows).map_err(lost)?;
        self.connection.execute_batch("COMMIT").map_err(|error| {
            // If the transaction is still open, nothing has been committed. If it has ended, the error may
            // have come after the write to the log, and it is unknown whether the commit survives.
            if self.connection.is_autocommit() {
                self.files.judge_durable(&error);
                SaveError::Indefinite(self.files.judge(error))
            } else {
                lost(error)
            }
        })?;
        // Not `Lost`: if the file comes back, the commit is in it.
        self.files.may_acknowledge().map_err(SaveError::Indefinite)?;
        Ok(saved)
    }
}

#[async_trait]
impl Lane for SqliteLane {
    async fn load(&mut self, keys: &Keys) -> Result<WorkingSet, StoreError> {
        self.files.may_write()?;
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
            self.files.judge(error)
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

    async fn confirm(&mut self, _replays: usize) -> Result<(), SaveError> {
        self.roll_back();
        // A replay acknowledges the first commit once more.
        self.files.may_acknowledge().map_err(SaveError::Lost)
    }
}

impl Drop for SqliteLane {
    fn drop(&mut self) {
        self.files.before_close(&self.connection);
    }
}
