//! Start-up: puts on the disk what an earlier market may have left in memory only.
//!
//! After a failed sync the kernel marks the pages as written although they are not. A later sync of the same
//! file succeeds and proves nothing, also in another process. So before SQLite opens the database, the
//! write-ahead log is copied to a new file, whose pages the kernel has to write.
//!
//! If another program has the database open, the log is rewritten in place, and that program's index is checked against
//! it (`shared_index`).
//!
//! The database needs no copy: pages that a checkpoint failed to sync are still in the log, since SQLite
//! discards the log only after the sync. The checkpoint at start-up writes them again.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use rusqlite::Connection;
use rustix::{
    fs::{FlockOperation, fcntl_lock},
    io::Errno,
};

use super::{
    database_file::{DatabaseFile, owner_only, remove_if_there, sync_folder},
    error, shared_index,
};
use crate::StoreError;

/// The suffix of the copy, until it replaces the log.
pub(super) const COPY: &str = "-wal.new";
/// The size of the pieces in which the log is copied.
const PIECE_BYTES: usize = 1 << 20;

/// Writes the log to the disk again, before SQLite opens the database. A kill at any point leaves either the
/// old log or the complete new one.
pub(super) fn renew_log(database: &DatabaseFile) -> Result<(), StoreError> {
    let (log, copy) = (database.companion("-wal"), database.companion(COPY));
    let failed = |error: io::Error| {
        StoreError::unavailable(format!(
            "can't write {} again to be sure that it is on the disk: {error}; check the disk and its free space, then start the market again",
            log.display()
        ))
    };
    remove_if_there(&copy).map_err(failed)?;
    let alone = Alone::with(database).map_err(failed)?;
    match fs::metadata(&log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(metadata) if metadata.len() == 0 => {}
        Ok(_) if alone.0.is_some() => replace(&log, &copy).map_err(failed)?,
        // Another program, such as `market audit`, reads the log at this moment and would lose it.
        Ok(_) => {
            rewrite(&log).map_err(failed)?;
            shared_index::set_right(database)?;
        }
    }
    if alone.0.is_some() {
        // It describes the old log, and says how much of that is in the database: which is unknown after a
        // failed sync. SQLite builds it again from the log.
        remove_if_there(&database.companion("-shm")).map_err(failed)?;
    }
    sync_folder(&database.path).map_err(failed)
}

/// Moves the content of the log into the database, and makes the names of all files durable.
pub(super) fn checkpoint(database: &DatabaseFile, connection: &Connection) -> Result<(), StoreError> {
    // TRUNCATE syncs the log, copies it, syncs the database and empties the log.
    let busy: bool = connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(|error| error::named(&database.path, &error))?;
    if busy {
        tracing::info!("another program reads the database; its log is copied into it later");
    }
    // SQLite does not report whether the folder was synced after it has created a file.
    let synced = database.file.sync_all().and_then(|()| sync_folder(&database.path));
    synced.map_err(|error| {
        StoreError::unavailable(format!(
            "can't sync {}: {error}; check the disk, then start the market again",
            database.path.display()
        ))
    })
}

/// Keeps other programs from opening the database, or knows that one has it open.
struct Alone<'a>(Option<&'a DatabaseFile>);

impl<'a> Alone<'a> {
    fn with(database: &'a DatabaseFile) -> io::Result<Self> {
        // Every connection to a database with a log holds a shared POSIX lock on it.
        match fcntl_lock(&database.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(Some(database))),
            Err(Errno::AGAIN | Errno::ACCESS) => Ok(Self(None)),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        if let Some(database) = self.0 {
            // Can't fail on a lock that is held; SQLite would report it.
            let _ = fcntl_lock(&database.file, FlockOperation::NonBlockingUnlock);
        }
    }
}

fn replace(log: &Path, copy: &Path) -> io::Result<()> {
    let (mut old, mut new) = (File::open(log)?, owner_only().create_new(true).open(copy)?);
    io::copy(&mut old, &mut new)?;
    new.sync_all()?;
    fs::rename(copy, log)
}

/// Writes each piece over itself. That makes its pages dirty, so that the sync writes them.
fn rewrite(log: &Path) -> io::Result<()> {
    let mut file = File::options().read(true).write(true).open(log)?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    loop {
        file.seek(SeekFrom::Start(at))?;
        let length = file.read(&mut piece)?;
        if length == 0 {
            return file.sync_all();
        }
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&piece[..length])?;
        at += length as u64;
    }
}
