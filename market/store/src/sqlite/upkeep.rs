//! Upkeep of the audit log: seals older entries in blocks, and prunes archived ones.

use async_trait::async_trait;
use rusqlite::{Connection, Error, OptionalExtension as _, params};
use souk_domain::Timestamp;

use super::{
    audit::{self, BLOCK, hash_before, in_rows, unreadable},
    backlog, convert,
    mailboxes::SqliteMailboxes,
    rows::at_most,
};
use crate::{
    AUDIT_STEP, Backlogs, StoreError, Upkeep,
    audit::{
        Head,
        block::{BLOCK_ENTRIES, Block, BlockError},
    },
};

/// The number of recent entries that stay rows. Appending reads the last one, and operators read the last few.
const ROWS_KEPT: i64 = 4_096;

#[async_trait]
impl Upkeep for SqliteMailboxes {
    async fn compact_audit(&self) -> Result<usize, StoreError> {
        // Compressed outside of the writers' turn: entries never change.
        let Some(block) = self.read(next_block).await? else { return Ok(0) };
        self.write(move |transaction| store_unless_pruned(transaction, &block)).await
    }

    async fn backlogs(&self, now: Timestamp) -> Result<Backlogs, StoreError> {
        self.read(move |connection| backlog::read(connection, now, ROWS_KEPT)).await
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

/// Puts a block in place of its rows. If they were pruned since the block was sealed, it must not bring them back.
fn store_unless_pruned(transaction: &Connection, block: &Block) -> Result<usize, Error> {
    // The oldest go first, so that if the first row is there, the others are too.
    let is_there =
        transaction.prepare_cached("SELECT 1 FROM audit WHERE sequence = ?")?.exists([block.first])?;
    if is_there { store(transaction, block) } else { Ok(0) }
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

/// Deletes up to [`AUDIT_STEP`] of the oldest entries, none after number `through` and not the newest one. Returns the
/// number of the first and the base that the last one is now; `None` if there are none to delete.
pub(super) fn prune(transaction: &Connection, through: i64) -> Result<Option<(i64, Head)>, Error> {
    let newest = "SELECT coalesce(max(sequence), 0) FROM audit";
    let newest: i64 = transaction.prepare_cached(newest)?.query_row([], |row| row.get(0))?;
    let through = through.min(newest - 1);
    let first = audit::base(transaction)?.sequence + 1;
    let oldest = format!("{BLOCK} ORDER BY first LIMIT 1");
    let pruned = match transaction.prepare_cached(&oldest)?.query_row([], audit::block).optional()? {
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

#[cfg(test)]
mod tests {
    use souk_domain::AuditEntry;

    use super::super::schema;
    use super::*;
    use crate::OpeningProgress;

    /// The entries are sealed outside of the writers' turn, and may be pruned in between.
    #[test]
    fn pruned_entries_do_not_come_back_in_a_block() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(schema::migrate(&mut connection, &OpeningProgress::default()).is_ok());
        let entry = AuditEntry {
            at: Timestamp(7),
            who: "buyer/x".into(),
            from: None,
            did: "BuyItem",
            what: "order 1: 1 of item 1".into(),
            count: 1,
            request: None,
        };
        audit::append(&connection, &vec![entry; 6_000]).unwrap();
        let block = next_block(&connection).unwrap().unwrap();
        let (first, base) = prune(&connection, 100).unwrap().unwrap();
        assert_eq!((first, base.sequence), (1, 100));
        assert_eq!(store_unless_pruned(&connection, &block).unwrap(), 0);
        let left = audit::entries(&mut connection, 0, 10_000).unwrap();
        assert_eq!((left[0].sequence, left.len()), (101, 5_900));
        // The next block follows on the base.
        let block = next_block(&connection).unwrap().unwrap();
        assert_eq!(store_unless_pruned(&connection, &block).unwrap(), BLOCK_ENTRIES);
        assert_eq!(audit::entries(&mut connection, 0, 10_000).unwrap(), left);
    }
}
