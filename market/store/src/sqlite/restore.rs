//! Puts a backup in place of the store.
//!
//! Numbers that the market assigned after the backup are known to clients, but not to the backup. If they were
//! assigned again, a client that remembers the old ones would confuse two orders, or skip events that it has never
//! seen because its cursor lies beyond them. So a restored store continues at higher numbers.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{
    backup::{at_file, create_private, publish, with_suffix},
    database_file::DatabaseFile,
    error::named,
    schema,
};
use crate::StoreError;

/// How far the numbers of orders, items and mailbox events are advanced: more than a market assigns between two
/// backups.
pub const SKIPPED_NUMBERS: i64 = 1_000_000;

/// The files that belong to a store, by what is added to its name.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// A store that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The files of the previous store, which were moved aside. Empty if there was none.
    pub replaced: Vec<PathBuf>,
    /// The number of orders in the restored store.
    pub orders: i64,
    /// The number of mailboxes in it.
    pub mailboxes: i64,
}

/// Restores the backup in `from` as the store `to`.
///
/// With `aside`, an existing store is kept: its files get this at the end of their names.
///
/// # Errors
///
/// Fails, with the existing store untouched, if a market has `to` open, if it exists and `aside` is `None`, or if
/// the backup is damaged, not a market's, or of a newer market.
pub fn restore(from: &Path, to: &Path, aside: Option<&str>) -> Result<Restored, StoreError> {
    // Locked while it is moved aside, so that no market opens it in between.
    let locked = if to.exists() { Some(DatabaseFile::open(to)?) } else { None };
    if locked.is_some() && aside.is_none() {
        return Err(StoreError::unavailable(format!(
            "{} exists; add --replace to move it aside first, or name another --store",
            to.display()
        )));
    }
    verify(from)?;
    let partial = with_suffix(to, ".restoring");
    create_private(&partial)?;
    let prepared = prepare(from, &partial);
    let finished = prepared.and_then(|(orders, mailboxes)| {
        let replaced = aside.map_or(Ok(Vec::new()), |suffix| move_aside(to, suffix))?;
        publish(&partial, to)?;
        Ok(Restored { replaced, orders, mailboxes })
    });
    if finished.is_err() {
        // The error that led here matters more than a leftover, which the next attempt replaces.
        let _ = fs::remove_file(&partial);
    }
    drop(locked);
    finished
}

/// Reads every page of the backup, so that a damaged one never replaces a store.
fn verify(path: &Path) -> Result<(), StoreError> {
    let at = |error: rusqlite::Error| named(path, &error);
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(at)?;
    schema::known(&connection).map_err(|problem| problem.at(path))?;
    let found: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(at)?;
    if found == "ok" {
        Ok(())
    } else {
        Err(StoreError::corrupt(format!("{} is damaged ({found}); use another backup", path.display())))
    }
}

/// Copies the backup and advances its numbers. Returns how many orders and mailboxes it has.
fn prepare(from: &Path, to: &Path) -> Result<(i64, i64), StoreError> {
    let at = |error: rusqlite::Error| named(to, &error);
    let source = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .map_err(|error| named(from, &error))?;
    let mut target = Connection::open(to).map_err(at)?;
    rusqlite::backup::Backup::new(&source, &mut target).and_then(|copying| copying.step(-1)).map_err(at)?;
    // Not WAL: the file must be complete by itself when it gets its name.
    target.pragma_update(None, "journal_mode", "DELETE").map_err(at)?;
    let transaction = target.transaction_with_behavior(TransactionBehavior::Immediate).map_err(at)?;
    let skipped = [SKIPPED_NUMBERS];
    transaction
        .execute("UPDATE counter SET value = value + ? WHERE name IN ('item', 'order')", skipped)
        .and_then(|_| {
            // Leases and back-offs are those of a market that is gone.
            transaction.execute(
                "UPDATE mailbox SET last_sequence = last_sequence + ?, failures = 0, lease_until = 0, \
                 next_attempt = CASE WHEN next_attempt IS NULL THEN NULL ELSE 0 END",
                skipped,
            )
        })
        .map_err(at)?;
    let count = |table: &str| {
        transaction.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).map_err(at)
    };
    let counts = (count("orders")?, count("mailbox")?);
    transaction.commit().map_err(at)?;
    Ok(counts)
}

/// Moves the files of a store aside and returns their new names. Nothing is deleted: the operator decides when.
fn move_aside(store: &Path, suffix: &str) -> Result<Vec<PathBuf>, StoreError> {
    let mut moved = Vec::new();
    // The log first: a crash after the store itself was moved must not leave a log that belongs to no store, which
    // the next one would replay.
    for companion in COMPANIONS.into_iter().chain([""]) {
        let file = with_suffix(store, companion);
        let target = with_suffix(&with_suffix(store, suffix), companion);
        if target.exists() {
            let exists = format!("{} exists; move it away first", target.display());
            return Err(StoreError::unavailable(exists));
        }
        match fs::rename(&file, &target) {
            Ok(()) => moved.push(target),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at_file(&file, &error)),
        }
    }
    Ok(moved)
}
