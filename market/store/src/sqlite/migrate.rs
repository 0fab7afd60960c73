//! Applies migrations: a small one in one transaction, a large one in steps.
//!
//! A migration that rewrites a table does so in steps of bounded size. Each step is a transaction that also stores how
//! far it has come, so that a market that was killed continues where it was. In between, the file's `user_version` is
//! one that no market knows as finished ([`UNFINISHED`]): an older market refuses the file instead of working on half of
//! a table.

use std::path::Path;

use rusqlite::{Connection, Error, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::error;
use crate::{OpeningProgress, StoreError};

/// The file's `application_id`, which marks it as a market's ("Souk" in ASCII).
pub(super) const APPLICATION_ID: i64 = 0x536f_756b;

/// Added to the number of a migration while its steps are under way.
const UNFINISHED: usize = 1_000_000;
/// The number of steps after which the write-ahead log is copied into the file. Otherwise it would grow to the size of
/// the migrated table.
const STEPS_PER_CHECKPOINT: usize = 16;

/// One change of the schema.
pub(super) enum Migration {
    /// Statements that are quick however many rows there are.
    Script(&'static str),
    /// A table that is rewritten in steps.
    Steps(Steps),
}

/// A table that is rewritten in steps.
pub(super) struct Steps {
    /// Statements before the first step.
    pub(super) begin: &'static str,
    /// Rewrites the next rows after a key, at most [`Self::ROWS`], and returns the last one's key; `None` if there are
    /// no more. Its transaction also stores that key. Its statements are not cached: the next migration changes the schema.
    pub(super) step: fn(&Connection, after: i64) -> Result<Option<i64>, Error>,
    /// A query for the highest key, to tell how far it is.
    pub(super) last: &'static str,
    /// Scripts after the last step, a transaction each. Building an index can't be divided any further.
    pub(super) finish: &'static [&'static str],
}

impl Steps {
    /// The maximum number of rows in a step.
    pub(super) const ROWS: i64 = 5_000;

    /// Returns the last of the next orders after a number, as many as a step rewrites; `None` if there are no more.
    pub(super) fn last_of_next_orders(connection: &Connection, after: i64) -> Result<Option<i64>, Error> {
        let last = "SELECT max(id) FROM (SELECT id FROM orders WHERE id > ? ORDER BY id LIMIT ?)";
        connection.query_row(last, [after, Self::ROWS], |row| row.get(0))
    }
}

/// Why the schema can't be brought up to date.
pub(super) enum SchemaProblem {
    Sqlite(Error),
    /// The file belongs to another program.
    Foreign,
    /// The file has no tables, and is opened for reading only.
    Empty,
    /// The file was written by a newer market.
    Newer {
        found: usize,
        known: usize,
    },
    /// The file was written by an older market, or its migration is not finished, and is opened for reading only.
    Older,
}

impl From<Error> for SchemaProblem {
    fn from(error: Error) -> Self {
        Self::Sqlite(error)
    }
}

impl SchemaProblem {
    pub(super) fn at(self, path: &Path) -> StoreError {
        let file = path.display();
        match self {
            Self::Sqlite(error) => error::named(path, &error),
            Self::Foreign => {
                StoreError::unsuitable(format!("{file} belongs to another program; name the market's store"))
            }
            Self::Empty => StoreError::corrupt(format!(
                "{file} is empty; name the market's store, or restore it from a backup"
            )),
            Self::Older => StoreError::unsuitable(format!(
                "{file} was written by an older market; start this one on it once to bring it up to date"
            )),
            Self::Newer { found, known } => StoreError::unsuitable(format!(
                "{file} was written by a newer market (schema {found}, this one knows {known}); use that version"
            )),
        }
    }
}

/// Returns the number of migrations applied, or [`UNFINISHED`] plus the number of the one whose steps are under way.
pub(super) fn version(connection: &Connection, known: usize) -> Result<usize, SchemaProblem> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let version = version as usize;
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && tables > 0 {
        return Err(SchemaProblem::Foreign);
    }
    let found = version.checked_sub(UNFINISHED).unwrap_or(version);
    if found > known { Err(SchemaProblem::Newer { found, known }) } else { Ok(version) }
}

/// Applies all missing migrations.
pub(super) fn migrate(
    connection: &mut Connection,
    migrations: &[Migration],
    progress: &OpeningProgress,
) -> Result<(), SchemaProblem> {
    let mut steps = 0;
    while step(connection, migrations, progress)? {
        steps += 1;
        if steps % STEPS_PER_CHECKPOINT == 0 {
            connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        }
    }
    progress.end(migrations.len());
    Ok(())
}

/// Takes the next step in one transaction, and returns whether there was one to take.
pub(super) fn step(
    connection: &mut Connection,
    migrations: &[Migration],
    progress: &OpeningProgress,
) -> Result<bool, SchemaProblem> {
    // The version is read in the transaction that changes it, so no other connection can migrate in between.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let applied = version(&transaction, migrations.len())?;
    let unfinished = applied.checked_sub(UNFINISHED);
    let number = unfinished.unwrap_or(applied + 1);
    match (migrations.get(number.wrapping_sub(1)), unfinished) {
        (None, _) => return Ok(false),
        (Some(Migration::Script(sql)), _) => {
            transaction.execute_batch(sql)?;
            set_version(&transaction, number)?;
        }
        (Some(Migration::Steps(steps)), None) => {
            transaction.execute_batch(steps.begin)?;
            // `stage` 0: rewriting rows; then the number of the next script of `finish`, from 1.
            transaction.execute_batch(
                "CREATE TABLE migration (stage INTEGER NOT NULL, last INTEGER NOT NULL) STRICT; \
                 INSERT INTO migration VALUES (0, 0)",
            )?;
            set_version(&transaction, UNFINISHED + number)?;
        }
        (Some(Migration::Steps(steps)), Some(_)) => resume(&transaction, number, steps, progress)?,
    }
    transaction.commit()?;
    Ok(true)
}

/// Takes the next step of a migration that has begun.
fn resume(
    transaction: &Transaction<'_>,
    number: usize,
    steps: &Steps,
    progress: &OpeningProgress,
) -> Result<(), Error> {
    let (stage, last): (u32, i64) =
        transaction
            .query_row("SELECT stage, last FROM migration", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if stage == 0 {
        let all = transaction.query_row(steps.last, [], |row| row.get(0)).optional()?.flatten();
        let next = (steps.step)(transaction, last)?;
        let (stage, last) = next.map_or((1, last), |next| (0, next));
        transaction.execute("UPDATE migration SET stage = ?, last = ?", params![stage, last])?;
        // Not of an empty table, such as that of a new store: nobody waits for it.
        if let Some(all) = all {
            progress.report(number, last, all);
        }
        return Ok(());
    }
    match steps.finish.get(stage as usize - 1) {
        Some(script) => {
            transaction.execute_batch(script)?;
            transaction.execute("UPDATE migration SET stage = stage + 1", [])?;
            if last > 0 {
                progress.report(number, 99, 100);
            }
        }
        None => {
            transaction.execute_batch("DROP TABLE migration")?;
            set_version(transaction, number)?;
        }
    }
    Ok(())
}

fn set_version(transaction: &Transaction<'_>, version: usize) -> Result<(), Error> {
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", i64::try_from(version).unwrap_or(i64::MAX))
}
