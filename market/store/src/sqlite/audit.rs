//! The audit log: recent entries as rows, older ones in blocks.

use rusqlite::{Connection, Error, OptionalExtension as _, Row, params};
use souk_domain::AuditEntry;

use super::{convert, rows::at_most};
use crate::audit::{
    AuditHash, AuditRow, Head, Link,
    block::{Block, BlockError},
    line,
};

/// Selects blocks.
pub(super) const BLOCK: &str = "SELECT first, last, bytes, lines, marks, end_hash FROM audit_block";

/// Appends entries to the log. The end of the chain is read in the write transaction, so nothing can come in between.
pub(super) fn append(transaction: &Connection, entries: &[AuditEntry]) -> Result<(), Error> {
    let mut put = transaction.prepare_cached("INSERT INTO audit (sequence, line, hash) VALUES (?, ?, ?)")?;
    let mut last =
        transaction.prepare_cached("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1")?;
    let head = last.query_row([], convert::audit_head).optional()?.unwrap_or(Head::START);
    let mut link = Link::after(head);
    for entry in entries {
        let AuditRow { sequence, line, hash } = link.next_line(line(entry));
        put.execute(params![sequence, line, hash.0])?;
    }
    Ok(())
}

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

pub(super) fn in_rows(connection: &Connection, after: i64, limit: usize) -> Result<Vec<AuditRow>, Error> {
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
pub(super) fn hash_before(connection: &Connection, first: i64) -> Result<AuditHash, Error> {
    let sql = "SELECT end_hash FROM audit_block WHERE last = ?";
    let before = connection.prepare_cached(sql)?.query_row([first - 1], |row| row.get(0)).optional()?;
    if let Some(before) = before {
        return Ok(AuditHash(before));
    }
    let base = base(connection)?;
    // A block that is missing is detected by the numbers.
    Ok(if base.sequence == first - 1 { base.hash } else { AuditHash::START })
}

/// Returns the last entry that was pruned.
pub(super) fn base(connection: &Connection) -> Result<Head, Error> {
    let sql = "SELECT sequence, hash FROM audit_base";
    let base = connection.prepare_cached(sql)?.query_row([], convert::audit_head).optional()?;
    Ok(base.unwrap_or(Head::START))
}

pub(super) fn block(row: &Row<'_>) -> Result<Block, Error> {
    let bytes: i64 = row.get(2)?;
    Ok(Block {
        first: row.get(0)?,
        end: Head { sequence: row.get(1)?, hash: AuditHash(row.get(5)?) },
        bytes: usize::try_from(bytes).map_err(|error| convert::unreadable(2, error))?,
        lines: row.get(3)?,
        marks: row.get(4)?,
    })
}

pub(super) fn unreadable(error: BlockError) -> Error {
    convert::unreadable(3, error)
}
