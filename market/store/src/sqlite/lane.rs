//! The only lane: one transaction per batch, on its own connection.
//!
//! The ledger runs each lane on its own thread, so blocking calls are fine here.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;
use souk_domain::{Keys, PartyId, RequestId, WorkingSet};

use super::{
    checkpoint::Checkpointer,
    error,
    kept::Kept,
    load,
    open_files::OpenFiles,
    requests, save,
    turn::{Taken, Turn},
};
use crate::{Lane, Receipt, SaveError, StoreError};

pub(super) struct SqliteLane {
    connection: Connection,
    kept: Kept,
    turn: Turn,
    /// The writers' turn, held from the beginning of a transaction to its end.
    taken: Option<Taken>,
    /// Ends with the lane.
    _checkpointer: Checkpointer,
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
        Self { connection, kept: Kept::default(), turn, taken: None, _checkpointer: checkpointer, files }
    }

    async fn begin(&mut self, keys: &Keys) -> Result<WorkingSet, rusqlite::Error> {
        self.turn.begin_interruptibly(&mut self.connection).await?;
        load::load(&self.connection, keys, &mut self.kept)
    }

    fn roll_back(&mut self) {
        // An error means that SQLite has already rolled back.
        if let Err(error) = self.connection.execute_batch("ROLLBACK") {
            tracing::debug!(%error, "nothing to roll back");
        }
        self.taken = None;
    }

    fn commit(&mut self, rows: &WorkingSet) -> Result<Receipt, SaveError> {
        self.files.has_space().map_err(SaveError::Lost)?;
        let saved = save::save(&self.connection, rows, &mut self.kept).map_err(|error| {
            if requests::is_repeated(&error) {
                SaveError::Conflict(error::unavailable(error))
            } else {
                SaveError::Lost(self.files.judge(error))
            }
        })?;
        let committed = self.connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        committed.map_err(|error| {
            let is_over = self.connection.is_autocommit();
            if is_over {
                self.files.judge_durable(&error);
            }
            self.files.note(&error);
            error::at_commit(error, is_over)
        })?;
        // Not `Lost`: if the file comes back, the commit is in it.
        self.files.may_acknowledge().map_err(SaveError::Indefinite)?;
        Ok(saved)
    }
}

#[async_trait]
impl Lane for SqliteLane {
    async fn load(&mut self, keys: &Keys) -> Result<WorkingSet, StoreError> {
        // Held across `await` points until the transaction ends, hence an owned guard of an async mutex.
        self.files.may_write()?;
        self.taken = Some(self.turn.take().await);
        let loaded = self.begin(keys).await;
        loaded.map_err(|error| {
            self.kept.forget();
            self.roll_back();
            self.files.judge(error)
        })
    }

    fn notices_repetitions(&self) -> bool {
        true
    }

    async fn has_requests(&mut self, requests: &[(PartyId, RequestId)]) -> Result<bool, StoreError> {
        requests::any(&self.connection, requests).map_err(|error| {
            self.roll_back();
            self.files.judge(error)
        })
    }

    async fn save(&mut self, rows: &WorkingSet) -> Result<Receipt, SaveError> {
        let saved = self.commit(rows);
        match saved {
            Ok(_) => {
                self.taken = None;
                self.kept.committed(rows);
            }
            // Also if the outcome is unknown: the connection must not stay in a transaction, and the turn has
            // to be released.
            Err(_) => {
                self.kept.forget();
                self.roll_back();
            }
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
