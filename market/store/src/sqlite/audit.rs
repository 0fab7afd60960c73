//! The audit log: recent entries as rows, older ones in blocks.

use async_trait::async_trait;
use rusqlite::{Connection, Error, OptionalExtension as _, Row, params};

use souk_domain::AuditEntry;

use super::{convert, mailboxes::SqliteMailboxes, rows::at_most};
use crate::{
    AUDIT_STEP, StoreError, Upkeep,
    audit::{
        AuditHash, AuditRow, Head, Link,
        block::{BLOCK_ENTRIES, Block, BlockError},
    },
};

/// The number of recent entries that stay rows. Appending reads the last one, and operators read the last few.
const ROWS_KEPT: i64 = 4_096;

const BLOCK: &str = "SELECT first, last, bytes, lines, marks, end_hash FROM audit_block";

/// Appends entries to the log. The end of the chain is read in the write transaction, so nothing can come in between.
pub(super) fn append(transaction: &Connection, entries: &[AuditEntry]) -> Result<(), Error> {
    let mut put = transaction.prepare_cached("INSERT INTO audit (sequence, line, hash) VALUES (?, ?, ?)")?;
    let mut last =
        transaction.prepare_cached("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1")?;
    let head = last.query_row([], convert::audit_head).optional()?.unwrap_or(Head::START);
    let mut link = Link::after(head);
    for entry in entries {
        let AuditRow { sequence, line, hash } = link.next(entry);
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

/// Deletes up to [`AUDIT_STEP`] of the oldest entries, none after number `through` and not the newest one. Returns the
/// number of the first and the base that the last one is now; `None` if there are none to delete.
pub(super) fn prune(transaction: &Connection, through: i64) -> Result<Option<(i64, Head)>, Error> {
    let newest = "SELECT coalesce(max(sequence), 0) FROM audit";
    let newest: i64 = transaction.prepare_cached(newest)?.query_row([], |row| row.get(0))?;
    let through = through.min(newest - 1);
    let first = base(transaction)?.sequence + 1;
    let oldest = format!("{BLOCK} ORDER BY first LIMIT 1");
    let pruned = match transaction.prepare_cached(&oldest)?.query_row([], block).optional()? {
        Some(block) if block.first > through => None,
        Some(block) => Some(prune_block(transaction, &block, through)?),
        None => prune_rows(transaction, through)?,
    };
    if let Some(Head { sequence, hash }) = pruned {
        let put = "INSERT INTO audit_base (is_only, sequence, hash) VALUES (1, ?1, ?2) \
                   ON CONFLICT DO UPDATE SET sequence = ?1, hash = ?2";
        transaction.prepare_cached(put)?.execute(params![sequence, hash.0])?;
    }
    Ok(pruned.map(|base| (first, base)))
}

/// Deletes the block. If only a part of it goes, seals the rest in a new one.
fn prune_block(transaction: &Connection, block: &Block, through: i64) -> Result<Head, Error> {
    let delete = |transaction: &Connection| {
        let sql = "DELETE FROM audit_block WHERE first = ?";
        transaction.prepare_cached(sql)?.execute([block.first])
    };
    if block.end.sequence <= through {
        delete(transaction)?;
        return Ok(block.end);
    }
    let mut rows = block.open(hash_before(transaction, block.first)?).map_err(unreadable)?;
    let rest = rows.split_off(rows.partition_point(|row| row.sequence <= through));
    let base = rows.last().map(|last| Head { sequence: last.sequence, hash: last.hash });
    let base =
        base.ok_or_else(|| convert::unreadable(3, "a block of the audit log is shorter than it says"))?;
    // Fails if the rest was altered, and then nothing is pruned: the alteration must not be sealed.
    let rest = Block::seal(base, &rest).map_err(unreadable)?;
    delete(transaction)?;
    rest.map_or(Ok(0), |rest| store(transaction, &rest))?;
    Ok(base)
}

fn prune_rows(transaction: &Connection, through: i64) -> Result<Option<Head>, Error> {
    let sql = "SELECT sequence, hash FROM (SELECT sequence, hash FROM audit WHERE sequence <= ? ORDER BY sequence LIMIT ?) \
               ORDER BY sequence DESC LIMIT 1";
    let last = transaction
        .prepare_cached(sql)?
        .query_row(params![through, at_most(AUDIT_STEP)], convert::audit_head)
        .optional()?;
    if let Some(last) = last {
        transaction.prepare_cached("DELETE FROM audit WHERE sequence <= ?")?.execute([last.sequence])?;
    }
    Ok(last)
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
