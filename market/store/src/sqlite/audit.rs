//! The audit log: recent entries as rows, older ones in blocks.

use async_trait::async_trait;
use rusqlite::{Connection, Error, OptionalExtension as _, Row, params};

use super::{convert, mailboxes::SqliteMailboxes, rows::at_most};
use crate::{
    StoreError, Upkeep,
    audit::{
        AuditHash, AuditRow, Head,
        block::{BLOCK_ENTRIES, Block, BlockError},
    },
};

/// The number of recent entries that stay rows. Appending reads the last one, and operators read the last few.
const ROWS_KEPT: i64 = 4_096;

const BLOCK: &str = "SELECT first, last, bytes, lines, marks, end_hash FROM audit_block";

/// Returns entries in order, starting after a number.
pub(super) fn entries(connection: &mut Connection, after: i64, limit: usize) -> Result<Vec<AuditRow>, Error> {
    // One snapshot: between two statements, entries could move from the rows into a block.
    let snapshot = connection.savepoint()?;
    let mut found = in_blocks(&snapshot, after, limit)?;
    // Read even if the blocks fill the page: a row that was inserted among them must not stay hidden.
    found.extend(in_rows(&snapshot, after, limit)?);
    snapshot.commit()?;
    found.sort_by_key(|row| row.sequence);
    found.truncate(limit);
    Ok(found)
}

fn in_rows(connection: &Connection, after: i64, limit: usize) -> Result<Vec<AuditRow>, Error> {
    let sql = "SELECT sequence, hash, line FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?";
    connection.prepare_cached(sql)?.query_map(params![after, at_most(limit)], convert::audit_row)?.collect()
}

fn in_blocks(connection: &Connection, after: i64, limit: usize) -> Result<Vec<AuditRow>, Error> {
    let sql = format!("{BLOCK} WHERE last > ? ORDER BY last");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut blocks = statement.query([after])?;
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(row) = blocks.next()?
    {
        let block = block(row)?;
        let before = hash_before(connection, block.first)?;
        let entries = block.open(before).map_err(unreadable)?;
        found.extend(entries.into_iter().filter(|entry| entry.sequence > after));
    }
    Ok(found)
}

/// Returns the hash that the block beginning at `first` is chained to.
fn hash_before(connection: &Connection, first: i64) -> Result<AuditHash, Error> {
    let sql = "SELECT end_hash FROM audit_block WHERE last = ?";
    let before = connection.prepare_cached(sql)?.query_row([first - 1], |row| row.get(0)).optional()?;
    // A block that is missing is detected by the numbers.
    Ok(before.map_or(AuditHash::START, AuditHash))
}

fn block(row: &Row<'_>) -> Result<Block, Error> {
    let bytes: i64 = row.get(2)?;
    Ok(Block {
        first: row.get(0)?,
        end: Head { sequence: row.get(1)?, hash: AuditHash(row.get(5)?) },
        bytes: usize::try_from(bytes).map_err(|error| convert::unreadable(2, error))?,
        lines: row.get(3)?,
        marks: row.get(4)?,
    })
}

fn unreadable(error: BlockError) -> Error {
    convert::unreadable(3, error)
}

#[async_trait]
impl Upkeep for SqliteMailboxes {
    async fn compact_audit(&self) -> Result<usize, StoreError> {
        // Compressed outside of the writers' turn: entries never change.
        let Some(block) = self.read(next_block).await? else { return Ok(0) };
        self.write(move |transaction| store(transaction, &block)).await
    }
}

/// Seals the oldest rows, if there are more than those that stay. `None` also if they are not a consistent part of the
/// log: then they stay as they are, for verification to report.
fn next_block(connection: &Connection) -> Result<Option<Block>, Error> {
    let sql = "SELECT min(sequence), max(sequence) FROM audit";
    let ends: (Option<i64>, Option<i64>) =
        connection.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (Some(first), Some(last)) = ends else { return Ok(None) };
    if last - first < ROWS_KEPT + at_most(BLOCK_ENTRIES) {
        return Ok(None);
    }
    let rows = in_rows(connection, first - 1, BLOCK_ENTRIES)?;
    let start = Head { sequence: first - 1, hash: hash_before(connection, first)? };
    match Block::seal(start, &rows) {
        Ok(block) => Ok(block),
        Err(error @ BlockError::Broken(_)) => {
            tracing::debug!(%error, "a part of the audit log stays uncompressed");
            Ok(None)
        }
        Err(error) => Err(unreadable(error)),
    }
}

fn store(transaction: &Connection, block: &Block) -> Result<usize, Error> {
    let Block { first, end, bytes, lines, marks } = block;
    let sql =
        "INSERT INTO audit_block (first, last, bytes, lines, marks, end_hash) VALUES (?, ?, ?, ?, ?, ?)";
    let bytes = at_most(*bytes);
    let values = params![first, end.sequence, bytes, lines, marks, end.hash.0];
    transaction.prepare_cached(sql)?.execute(values)?;
    let sql = "DELETE FROM audit WHERE sequence BETWEEN ? AND ?";
    transaction.prepare_cached(sql)?.execute(params![first, end.sequence])
}
