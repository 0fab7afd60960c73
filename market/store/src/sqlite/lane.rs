//! The only lane: one transaction per batch, on its own connection.
//!
//! The ledger runs each lane on its own thread, so blocking calls are fine here.

use std::fs::File;

use async_trait::async_trait;
use rusqlite::Connection;
use souk_domain::{Keys, WorkingSet};

use super::{
    checkpoint::Checkpointer,
    error::{self, unavailable},
    load,
    mailboxes::Writer,
    save,
    turn::{Taken, Turn, begin_interruptibly},
};
use crate::{Lane, Receipt, SaveError, StoreError, space::Space};

pub(super) struct SqliteLane {
    connection: Connection,
    turn: Turn,
    /// The writers' turn, held from the beginning of a transaction to its end.
    taken: Option<Taken>,
    space: Space,
    /// Ends with the lane.
    _checkpointer: Checkpointer,
    /// The lock on the store's file, released when the lane is dropped.
    _lock: File,
}

impl SqliteLane {
    pub(super) fn new(
        connection: Connection,
        Writer { turn, space }: Writer,
        checkpointer: Checkpointer,
        lock: File,
    ) -> Self {
        Self { connection, turn, taken: None, space, _checkpointer: checkpointer, _lock: lock }
    }

    async fn begin(&mut self, keys: &Keys) -> Result<WorkingSet, rusqlite::Error> {
        begin_interruptibly(&mut self.connection).await?;
        load::load(&self.connection, keys)
    }

    fn roll_back(&mut self) {
        // An error means that SQLite has already rolled back.
        if let Err(error) = self.connection.execute_batch("ROLLBACK") {
            tracing::debug!(%error, "nothing to roll back");
        }
        self.taken = None;
    }

    fn note_space(&self, error: &StoreError) {
        if let StoreError::Full(error) = error {
            self.space.ran_out(error);
        }
    }

    fn commit(&mut self, rows: &WorkingSet) -> Result<Receipt, SaveError> {
        let saved =
            save::save(&self.connection, rows).map_err(|error| SaveError::Lost(unavailable(error)))?;
        self.connection
            .execute_batch("COMMIT")
            .map_err(|error| error::at_commit(error, self.connection.is_autocommit()))?;
        Ok(saved)
    }
}

#[async_trait]
impl Lane for SqliteLane {
    async fn load(&mut self, keys: &Keys) -> Result<WorkingSet, StoreError> {
        // Held across `await` points until the transaction ends, hence an owned guard of an async mutex.
        self.taken = Some(self.turn.take().await);
        let loaded = self.begin(keys).await;
        loaded.map_err(|error| {
            self.roll_back();
            let error = unavailable(error);
            self.note_space(&error);
            error
        })
    }

    async fn save(&mut self, rows: &WorkingSet) -> Result<Receipt, SaveError> {
        let saved = self.commit(rows);
        match &saved {
            Ok(_) => {
                self.taken = None;
                self.space.sufficed();
            }
            // Also if the outcome is unknown: the connection must not stay in a transaction, and the turn has
            // to be released.
            Err(SaveError::Lost(error) | SaveError::Conflict(error) | SaveError::Indefinite(error)) => {
                self.roll_back();
                self.note_space(error);
            }
        }
        saved
    }

    async fn abandon(&mut self) {
        self.roll_back();
    }
}
