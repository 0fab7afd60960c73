//! The steady clock, one row in the file.

use std::path::Path;

use async_trait::async_trait;
use rusqlite::{Connection, Error, params};
use souk_domain::Timestamp;

use super::{beside, error, mailboxes::SqliteMailboxes};
use crate::{ClockMark, ClockReport, Clocks, DueBounds, StoreError};

/// The row. Before the first start it holds only the newest stamp of an older version, if there is one.
struct Row {
    steady: Option<i64>,
    wall: Option<i64>,
    disagreed_at: Option<i64>,
    jump_seconds: i64,
}

impl Row {
    fn read(connection: &Connection) -> Result<Self, Error> {
        let sql = "SELECT steady, wall, disagreed_at, jump_seconds FROM clock";
        connection.prepare_cached(sql)?.query_row([], |row| {
            Ok(Self {
                steady: row.get(0)?,
                wall: row.get(1)?,
                disagreed_at: row.get(2)?,
                jump_seconds: row.get(3)?,
            })
        })
    }

    fn mark(&self) -> Option<ClockMark> {
        let Self { steady, wall, disagreed_at, jump_seconds } = *self;
        let (steady, wall) = (Timestamp(steady?), Timestamp(wall?));
        Some(ClockMark { steady, wall, disagreed_at: disagreed_at.map(Timestamp), jump_seconds })
    }
}

/// Reads the clock of a file, alongside a market that may have it open. `None` if no market has run on it yet.
///
/// # Errors
///
/// Fails if the file can't be read, or if its schema is not up to date.
pub fn clock_mark(path: &Path) -> Result<Option<ClockMark>, StoreError> {
    let connection = beside::open(path)?;
    Row::read(&connection).map(|row| row.mark()).map_err(|error| error::named(path, &error))
}

fn exchange(transaction: &Connection, report: ClockReport) -> Result<ClockMark, Error> {
    let row = Row::read(transaction)?;
    let newest = row.steady.map(Timestamp);
    let mark = row.mark().unwrap_or_else(|| ClockMark::first(newest, report.wall)).after(report);
    let ClockMark { steady, wall, disagreed_at, jump_seconds } = mark;
    let sql = "UPDATE clock SET steady = ?, wall = ?, disagreed_at = ?, jump_seconds = ?";
    let disagreed_at = disagreed_at.map(|at| at.0);
    transaction.prepare_cached(sql)?.execute(params![steady.0, wall.0, disagreed_at, jump_seconds])?;
    Ok(mark)
}

#[async_trait]
impl Clocks for SqliteMailboxes {
    async fn exchange(&self, report: ClockReport) -> Result<ClockMark, StoreError> {
        self.write(move |transaction| exchange(transaction, report)).await
    }

    async fn clamp_due_times(&self, bounds: DueBounds) -> Result<usize, StoreError> {
        const BEYOND: &str = "next_attempt IS NOT NULL AND callback_port IS NOT NULL \
                              AND (next_attempt > ?1 OR lease_until > ?2)";
        let bounds = [bounds.next_attempt.0, bounds.lease_until.0];
        // Usually there is none: check before taking a turn.
        let some = format!("SELECT 1 FROM mailbox WHERE {BEYOND}");
        if !self.read(move |connection| connection.prepare_cached(&some)?.exists(bounds)).await? {
            return Ok(0);
        }
        let sql = format!(
            "UPDATE mailbox SET next_attempt = min(next_attempt, ?1), lease_until = min(lease_until, ?2) WHERE {BEYOND}"
        );
        self.write(move |transaction| transaction.prepare_cached(&sql)?.execute(bounds)).await
    }
}
