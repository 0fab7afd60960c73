//! Puts a backup in place of the store.
//!
//! Numbers that the market assigned after the backup are known to clients, but not to the backup. If they were
//! assigned again, a client that remembers the old ones would confuse two orders, or skip events that it has never
//! seen because its cursor lies beyond them. So a restored store continues at higher numbers.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, TransactionBehavior};

use super::{
    beside,
    database_file::{DatabaseFile, companion, remove_if_there, sync_folder},
    error::named,
    ownership::begins_like_a_database,
    partial::{Partial, at_file},
    recovery,
};
use crate::StoreError;

/// How far the numbers of orders, items and mailbox events are advanced: more than a market assigns between two
/// backups.
pub const SKIPPED_NUMBERS: i64 = 1_000_000;

/// The files that hold a part of a store, by what is added to its name. SQLite applies them to whatever database has
/// the name.
const LOGS: [&str; 2] = ["-wal", "-journal"];
/// The file through which the log is shared. It describes the log, and SQLite makes it again.
const SHARED: &str = "-shm";

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
/// Fails, with the existing store untouched, if a market has `to` open, if it or its log exists and `aside` is `None`, or
/// if the backup is damaged, not a market's, or of a newer market.
pub fn restore(from: &Path, to: &Path, aside: Option<&str>) -> Result<Restored, StoreError> {
    // SQLite names the log after the real path.
    let to = &*fs::canonicalize(to).unwrap_or_else(|_| to.to_owned());
    // Locked while it is moved aside, so that no market opens it in between.
    let locked = if to.exists() { Some(DatabaseFile::open_existing(to)?) } else { None };
    if aside.is_none() {
        refuse_existing(to)?;
    }
    let source = verified(from)?;
    let partial = Partial::create(companion(to, ".restoring"))?;
    let (orders, mailboxes) = prepare(&source, from, partial.path())?;
    let replaced = aside.map_or(Ok(Vec::new()), |suffix| move_aside(to, suffix, locked.as_ref()))?;
    partial.publish(to)?;
    Ok(Restored { replaced, orders, mailboxes })
}

/// Returns whether something has this name, be it a broken link.
fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn refuse_existing(store: &Path) -> Result<(), StoreError> {
    let shown = store.display();
    if is_there(store) {
        return Err(StoreError::unavailable(format!(
            "{shown} exists; add --replace to move it aside first, or name another --store"
        )));
    }
    let left = LOGS.into_iter().chain([SHARED]).map(|suffix| companion(store, suffix));
    match left.into_iter().find(|file| is_there(file)) {
        None => Ok(()),
        Some(file) => Err(StoreError::unavailable(format!(
            "{} is left of another {shown}, and would damage the restored one; add --replace to move it aside first",
            file.display()
        ))),
    }
}

/// Opens the backup and reads every page of it, so that a damaged one never replaces a store.
fn verified(path: &Path) -> Result<Connection, StoreError> {
    let connection = beside::open_known(path)?;
    let found: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(|error| named(path, &error))?;
    if found == "ok" {
        Ok(connection)
    } else {
        Err(StoreError::corrupt(format!("{} is damaged ({found}); use another backup", path.display())))
    }
}

/// Copies the backup and advances its numbers. Returns how many orders and mailboxes it has.
fn prepare(source: &Connection, from: &Path, to: &Path) -> Result<(i64, i64), StoreError> {
    let at = |error: rusqlite::Error| named(to, &error);
    let mut target = Connection::open(to).map_err(at)?;
    rusqlite::backup::Backup::new(source, &mut target)
        .and_then(|copying| copying.step(-1))
        .map_err(|error| named(from, &error))?;
    // Not WAL: the file must be complete by itself when it gets its name.
    target.pragma_update(None, "journal_mode", "DELETE").map_err(at)?;
    let transaction = target.transaction_with_behavior(TransactionBehavior::Immediate).map_err(at)?;
    let skipped = [SKIPPED_NUMBERS];
    transaction
        .execute("UPDATE counter SET value = value + ? WHERE name IN ('item', 'order')", skipped)
        .and_then(|_| {
            // Leases and back-offs are those of a market that is gone. The steady clock stays as it is: it goes on from
            // the backup, so that what waited then is not older now.
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
fn move_aside(store: &Path, suffix: &str, locked: Option<&DatabaseFile>) -> Result<Vec<PathBuf>, StoreError> {
    let names = |part: &str| (companion(store, part), companion(&companion(store, suffix), part));
    for part in LOGS.into_iter().chain([""]) {
        let (_, target) = names(part);
        if is_there(&target) {
            let exists = format!("{} exists; move it away first", target.display());
            return Err(StoreError::unavailable(exists));
        }
    }
    if let Some(Err(error)) = locked.map(settle) {
        // It may be replaced for this very reason.
        tracing::warn!(%error, "the replaced store can't be completed from its log, and keeps it");
    }
    let synced = || sync_folder(store).map_err(|error| at_file(store, &error));
    let mut moved = Vec::new();
    // A log has both names while the store gets its new one: whenever this ends, the store has its log beside it, and no
    // other store gets it.
    for (log, target) in LOGS.map(names) {
        if is_there(&log) {
            name_too(&log, &target).map_err(|error| at_file(&target, &error))?;
            moved.push(target);
        }
    }
    synced()?;
    let (store_now, target) = names("");
    match fs::rename(&store_now, &target) {
        Ok(()) => moved.push(target),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(at_file(&store_now, &error)),
    }
    synced()?;
    for part in LOGS.into_iter().chain([SHARED]) {
        let (file, _) = names(part);
        remove_if_there(&file).map_err(|error| at_file(&file, &error))?;
    }
    synced()?;
    Ok(moved)
}

/// Gives a file a second name, or copies it where a file can have only one.
fn name_too(file: &Path, name: &Path) -> io::Result<()> {
    if fs::hard_link(file, name).is_ok() {
        return Ok(());
    }
    fs::copy(file, name)?;
    File::open(name)?.sync_all()
}

/// Moves what a killed market left in the log into the database, so that the file is complete by itself.
fn settle(store: &DatabaseFile) -> Result<(), StoreError> {
    let is_empty = |path: &Path| fs::metadata(path).map_or(true, |file| file.len() == 0);
    // SQLite deletes the log of an empty database, and may delete that of a file that is none.
    if !begins_like_a_database(&store.file) || LOGS.iter().all(|log| is_empty(&store.companion(log))) {
        return Ok(());
    }
    recovery::renew_log(store)?;
    let connection = Connection::open(&store.path).map_err(|error| named(&store.path, &error))?;
    // A connection that has read nothing does not know of the log, and would copy nothing.
    let read = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    read.map_err(|error| named(&store.path, &error))?;
    recovery::checkpoint(store, &connection)
}
