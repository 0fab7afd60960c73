//! A consistent copy of the file, made while a market uses it.
//!
//! The copy is one read transaction: it sees the store as it was when the copy began, and holds no lock that a
//! writer needs. Meanwhile the write-ahead log can't be truncated, so it grows by what is written.

use std::path::Path;

use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};

use super::{beside, database_file::companion, error::named, partial::Partial};
use crate::StoreError;

/// The number of pages (of 4 KiB, so 4 MiB) that are copied between two reports of progress.
const STEP_PAGES: i32 = 1_024;

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
/// Fails if `to` exists or is being written, if `from` can't be read or is not a market's store, or if the copy can't
/// be written.
pub fn backup(from: &Path, to: &Path, mut progress: impl FnMut(BackupProgress)) -> Result<u64, StoreError> {
    refuse_existing(to)?;
    let source = beside::open(from)?;
    let partial = Partial::create(companion(to, ".partial"))?;
    // Once more: another backup may have finished before this one had the lock.
    refuse_existing(to)?;
    let bytes = copy(&source, from, partial.path(), &mut progress)?;
    partial.publish(to)?;
    Ok(bytes)
}

fn refuse_existing(to: &Path) -> Result<(), StoreError> {
    if to.exists() {
        return Err(StoreError::unavailable(format!("{} exists; choose another file", to.display())));
    }
    Ok(())
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
    // whenever a market commits between two steps. BEGIN alone reads nothing, and so begins nothing.
    source.execute_batch("BEGIN").map_err(reading)?;
    source
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))
        .map_err(reading)?;
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
