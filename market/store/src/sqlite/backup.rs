//! A consistent copy of the file, made while a market uses it.
//!
//! The copy is one read transaction: it sees the store as it was when the copy began, and holds no lock that a
//! writer needs. Meanwhile the write-ahead log can't be truncated, so it grows by what is written.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};

use super::{beside, error::named};
use crate::StoreError;

/// The number of pages (of 4 KiB, so 4 MiB) that are copied between two reports of progress.
const STEP_PAGES: i32 = 1_024;
/// Only the owner may read a copy, which contains everything that the store does.
const OWNER_ONLY: u32 = 0o600;

/// How far a backup has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupProgress {
    /// The number of bytes copied so far.
    pub copied: u64,
    /// The size of the whole copy in bytes.
    pub total: u64,
}

/// Copies the store in `from` to the new file `to`, and returns the copy's size in bytes.
///
/// The copy is complete and on disk when it appears under its name. Until then it is `to` with `.partial` at the
/// end, which the next attempt replaces.
///
/// # Errors
///
/// Fails if `to` exists, if `from` can't be read or is not a market's store, or if the copy can't be written.
pub fn backup(from: &Path, to: &Path, mut progress: impl FnMut(BackupProgress)) -> Result<u64, StoreError> {
    if to.exists() {
        return Err(StoreError::unavailable(format!("{} exists; choose another file", to.display())));
    }
    let source = beside::open(from)?;
    let partial = with_suffix(to, ".partial");
    create_private(&partial)?;
    let copied = copy(&source, from, &partial, &mut progress);
    let finished = copied.and_then(|bytes| publish(&partial, to).map(|()| bytes));
    if finished.is_err() {
        // The error that led here matters more than a leftover, which the next attempt replaces.
        let _ = fs::remove_file(&partial);
    }
    finished
}

fn copy(
    source: &Connection,
    from: &Path,
    to: &Path,
    progress: &mut impl FnMut(BackupProgress),
) -> Result<u64, StoreError> {
    let reading = |error: rusqlite::Error| named(from, &error);
    let writing = |error: rusqlite::Error| named(to, &error);
    // Within one transaction, each step reads the same snapshot. Without it, SQLite would begin the copy again
    // whenever a market commits between two steps.
    source.execute_batch("BEGIN").map_err(reading)?;
    let page_bytes: u32 = source.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(reading)?;
    let mut target = Connection::open(to).map_err(writing)?;
    // The whole file is synced once at the end; until then it has another name and no value.
    target.pragma_update(None, "journal_mode", "OFF").map_err(writing)?;
    target.pragma_update(None, "synchronous", "OFF").map_err(writing)?;
    let copying = Backup::new(source, &mut target).map_err(writing)?;
    loop {
        let step = copying.step(STEP_PAGES).map_err(writing)?;
        let done = copying.progress();
        let bytes = |pages: i32| u64::try_from(pages).unwrap_or(0) * u64::from(page_bytes);
        let total = bytes(done.pagecount);
        progress(BackupProgress { copied: total - bytes(done.remaining), total });
        match step {
            StepResult::Done => return Ok(total),
            StepResult::More => {}
            // Nobody else knows the target's name, and a read transaction is not held up.
            _ => {
                let busy = format!("another process has {} open; use another name", to.display());
                return Err(StoreError::unavailable(busy));
            }
        }
    }
}

/// Creates an empty file that only the owner can read, replacing a leftover.
pub(super) fn create_private(path: &Path) -> Result<(), StoreError> {
    let at = |error| at_file(path, &error);
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(error)),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path).map(|_| ()).map_err(at)
}

/// Syncs a finished file and gives it its name, durably.
pub(super) fn publish(partial: &Path, to: &Path) -> Result<(), StoreError> {
    let sync = |path: &Path| File::open(path).and_then(|file| file.sync_all());
    sync(partial).map_err(|error| at_file(partial, &error))?;
    let folder = match to.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // The rename itself is durable only when the folder is synced.
    fs::rename(partial, to).and_then(|()| sync(folder)).map_err(|error| at_file(to, &error))
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub(super) fn at_file(path: &Path, error: &io::Error) -> StoreError {
    StoreError::unavailable(format!("{}: {error}", path.display()))
}
