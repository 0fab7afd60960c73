//! The steady clock, one row that all markets on the database share.

use async_trait::async_trait;
use souk_domain::Timestamp;
use tokio_postgres::Row;

use super::{
    PostgresOptions,
    address::Address,
    connection::{Connection, Session, params},
    convert::{self, first, get},
    error::Failure,
    mailboxes::PostgresMailboxes,
    pool::{ATTEMPTS, Pool},
    schema,
};
use crate::{ClockMark, ClockReport, Clocks, DueBounds, StoreError};

const READ: &str = "SELECT steady, wall, disagreed_at, jump_seconds FROM clock";
/// Markets take turns, so that no report is lost to another's.
const LOCK: &str = "SELECT steady, wall, disagreed_at, jump_seconds FROM clock FOR UPDATE";
const WRITE: &str = "UPDATE clock SET steady = $1, wall = $2, disagreed_at = $3, jump_seconds = $4";
const CLAMP: &str = "UPDATE mailbox SET next_attempt = least(next_attempt, $1), lease_until = least(lease_until, $2) \
     WHERE party IN (SELECT party FROM mailbox WHERE next_attempt IS NOT NULL AND callback_port IS NOT NULL \
     AND (next_attempt > $1 OR lease_until > $2) ORDER BY party FOR NO KEY UPDATE SKIP LOCKED) RETURNING 1";

/// Reads the newest stamp (before the first start) and the mark.
fn row(row: &Row) -> Result<(Option<Timestamp>, Option<ClockMark>), Failure> {
    let (steady, wall) = (convert::optional_time(row, 0)?, convert::optional_time(row, 1)?);
    let (disagreed_at, jump_seconds) = (convert::optional_time(row, 2)?, get(row, 3)?);
    let mark = steady.zip(wall);
    Ok((steady, mark.map(|(steady, wall)| ClockMark { steady, wall, disagreed_at, jump_seconds })))
}

/// Reads the clock of a database, alongside markets that may have it open. `None` if no market has run on it yet.
///
/// # Errors
///
/// Fails if no host of the address can be used, or if the schema is not up to date.
pub async fn clock_mark(address: &str, options: &PostgresOptions) -> Result<Option<ClockMark>, StoreError> {
    let address = Address::read(address, options)?;
    schema::check(&address).await?;
    let session = Session { prepare: &[], durable: false, gives_up: false };
    let mut connection = Connection::open(&address, &session, &tokio::runtime::Handle::current()).await?;
    let rows = connection.query(READ, Vec::new()).await?;
    Ok(first(&rows, row)?.and_then(|(_, mark)| mark))
}

async fn exchange(pool: &Pool, report: ClockReport) -> Result<ClockMark, Failure> {
    let mut seat = pool.take().await?;
    seat.batch("BEGIN").await?;
    let rows = seat.query(LOCK, Vec::new()).await?;
    let (newest, mark) = first(&rows, row)?.unwrap_or_default();
    let mark = mark.unwrap_or_else(|| ClockMark::first(newest, report.wall)).after(report);
    let ClockMark { steady, wall, disagreed_at, jump_seconds } = mark;
    let disagreed_at = disagreed_at.map(|at| at.0);
    seat.query(WRITE, params![steady.0, wall.0, disagreed_at, jump_seconds]).await?;
    seat.batch("COMMIT").await?;
    seat.give_back();
    Ok(mark)
}

#[async_trait]
impl Clocks for PostgresMailboxes {
    async fn exchange(&self, report: ClockReport) -> Result<ClockMark, StoreError> {
        let mut attempt = 1;
        loop {
            match exchange(self.pool(), report).await {
                Err(failure) if attempt < ATTEMPTS && (failure.is_collision() || failure.is_cut()) => {
                    attempt += 1
                }
                ended => break Ok(ended?),
            }
        }
    }

    async fn clamp_due_times(&self, bounds: DueBounds) -> Result<usize, StoreError> {
        let bounds = || params![bounds.next_attempt.0, bounds.lease_until.0];
        Ok(self.pool().query(CLAMP, bounds).await?.len())
    }
}
