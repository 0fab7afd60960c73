//! The files of an open store, and whether what is written to them counts.
//!
//! A commit that SQLite reports as successful is lost in two cases that SQLite does not see: if a sync has
//! failed before, and if the files are no longer those at their paths. So both are checked before anything is
//! acknowledged.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, Error, ErrorCode, config::DbConfig};

use super::{
    database_file::{DatabaseFile, FileId},
    error::{self, Class, classify},
};
use crate::{Health, HealthState, StoreError, space::Space};

/// The files that the store's connections have open.
///
/// Each owner of a connection holds this too, and drops it after the connection (see [`DatabaseFile`]).
pub(super) struct OpenFiles {
    database: (PathBuf, FileId),
    log: (PathBuf, FileId),
    health: Health,
    space: Space,
    _locked: File,
}

impl OpenFiles {
    /// Records the log of the open connections. SQLite creates it with the first connection, and neither
    /// deletes nor replaces it before the last one is closed.
    pub(super) fn new(database: DatabaseFile, health: Health) -> Result<Self, StoreError> {
        let log = database.companion("-wal");
        let metadata = fs::metadata(&log).map_err(|error| {
            StoreError::unavailable(format!("can't find {}: {error}; start the market again", log.display()))
        })?;
        let DatabaseFile { path, id, file } = database;
        let space = Space::new(health.clone());
        Ok(Self { database: (path, id), log: (log, FileId::of(&metadata)), health, space, _locked: file })
    }

    /// Checks that the store may write, before a transaction. Costs no system call while it may.
    pub(super) fn may_write(&self) -> Result<(), StoreError> {
        match self.health.stopped() {
            None => Ok(()),
            Some(_) => self.may_acknowledge(),
        }
    }

    /// Checks that the disk is not full, before changes are written. Until the checkpointer has found space again and copied
    /// the log, new changes would take the space that the database needs for it.
    pub(super) fn has_space(&self) -> Result<(), StoreError> {
        if self.space.is_used_up() {
            return Err(StoreError::Full("the disk of the store is full".into()));
        }
        Ok(())
    }

    /// Checks that what was written counts, before it is acknowledged.
    pub(super) fn may_acknowledge(&self) -> Result<(), StoreError> {
        self.look();
        self.health.stopped().map_or(Ok(()), |reason| Err(StoreError::Stopped(reason)))
    }

    /// Compares the open files with those at their paths, and reports a change.
    pub(super) fn look(&self) {
        let found =
            is_still(&self.database.0, self.database.1).and_then(|()| is_still(&self.log.0, self.log.1));
        match found {
            Ok(()) => {
                if self.health.attach() {
                    tracing::info!("the files of the store are back; the market writes again");
                }
            }
            Err(reason) => {
                if self.health.set(HealthState::Detached { reason: reason.clone() }) {
                    tracing::error!(
                        "{reason}: the market acknowledges nothing any more, because it would be lost; put the file back, or stop the market and restore a backup"
                    );
                }
            }
        }
    }

    /// Returns whether the log has lost its name, while the database is where it was.
    pub(super) fn has_lost_only_its_log(&self) -> bool {
        let is_lost =
            |path: &Path| fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        matches!(self.health.state(), HealthState::Detached { .. })
            && is_still(&self.database.0, self.database.1).is_ok()
            && is_lost(&self.log.0)
    }

    /// Converts an error of a connection. A failed sync ends the store.
    pub(super) fn judge(&self, error: Error) -> StoreError {
        self.note(&error);
        error::unavailable(error)
    }

    /// Reports what an error of a connection says about the store as a whole.
    pub(super) fn note(&self, error: &Error) {
        match classify(error) {
            Class::SyncFailed => self.fail(error),
            Class::Full => self.space.ran_out(error),
            Class::Damage | Class::Constraint | Class::Other => {}
        }
    }

    /// Returns what is known about the space on the disk.
    pub(super) fn space(&self) -> &Space {
        &self.space
    }

    /// Ends the store if the error leaves it unknown whether a durable commit is on the disk.
    pub(super) fn judge_durable(&self, error: &Error) {
        // Want of space leaves earlier commits as they are.
        let is_failure = matches!(error.sqlite_error_code(), Some(ErrorCode::SystemIoFailure));
        if is_failure && classify(error) != Class::Full {
            self.fail(error);
        }
    }

    fn fail(&self, error: &Error) {
        // Not logged: the program ends with this text.
        self.health.set(HealthState::Failed {
            reason: format!("{} failed to sync to the disk ({error})", self.database.0.display()),
        });
    }

    /// Prepares a connection for being closed.
    ///
    /// The last connection to close runs a checkpoint and deletes the log by its name. If the files are not
    /// those at their paths, that would delete another database's log. After a failed sync it would delete
    /// the log from which the next start recovers.
    pub(super) fn before_close(&self, connection: &Connection) {
        self.look();
        if self.health.stopped().is_some()
            && let Err(error) = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        {
            tracing::error!(%error, "can't keep SQLite from touching the log");
        }
    }
}

/// Checks that a path names a file, which has no other name.
fn is_still(path: &Path, id: FileId) -> Result<(), String> {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(found) if FileId::of(&found) != id => Err(format!("{shown} has been replaced by another file")),
        Ok(found) if found.nlink() > 1 => Err(format!("{shown} has got a second hard link")),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("{shown} has been deleted or moved"))
        }
        Err(error) => Err(format!("{shown} can't be found any more ({error})")),
    }
}
