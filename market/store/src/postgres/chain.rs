//! The audit log's hash chain, and the horizon up to which the log and the item feed are read.
//!
//! A *place* is the transaction's id times 2²⁰ plus a count. A transaction that gets its id later has higher
//! places, but may commit earlier, so a reader that takes all visible rows could skip one that commits late.
//! The *horizon* prevents that: it is the first place of the oldest transaction that is still open. Before
//! it nothing can be added any more.
//!
//! A lane adds its audit lines in the transaction of their changes, each at a place of that transaction, and
//! no lane waits for another. The hashes are chained afterwards, by the market that holds an advisory lock,
//! in the order of the places and only up to the horizon. So the chain is a function of the lines alone, and
//! a link that a power loss forgets is recomputed with the same result. The price is that for about a
//! second, or until the log is read, a line is protected by nothing but the database.

use std::{sync::Weak, time::Duration};

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    connection::params,
    convert::{self, first, get},
    error::Failure,
    pool::Pool,
};
use crate::{
    FeedPosition,
    audit::{AuditRow, Head, Link},
};

/// How often lines are chained if nobody reads the log.
const PERIOD: Duration = Duration::from_secs(1);
/// The maximum number of lines chained in one transaction.
const STEP: i64 = 1_000;
/// How long a query waits for the transactions that were open when it began. They usually take a few
/// milliseconds.
pub(super) const HORIZON_PATIENCE: Duration = Duration::from_millis(500);
/// How often the horizon is read while waiting for it.
pub(super) const HORIZON_LOOK: Duration = Duration::from_millis(2);

/// Reads the horizon (`known`), and a bound above every place that is visible now (`taken`).
pub(super) const HORIZON: &str = "SELECT known, taken FROM place_horizon";

/// Finds out whether any line is not in the chain yet, whether before the horizon or not.
const UNLINKED: &str = "SELECT 1 FROM audit_line \
     WHERE place > coalesce((SELECT place FROM audit ORDER BY sequence DESC LIMIT 1), 0) LIMIT 1";
const LOCK: &str = "SELECT pg_advisory_xact_lock(1936682347, 2)";
const END: &str = "SELECT sequence, hash, place FROM audit ORDER BY sequence DESC LIMIT 1";
const LINES: &str = "SELECT place, line FROM audit_line \
     WHERE place > $1 AND place < (SELECT known FROM place_horizon) ORDER BY place LIMIT $2";
const LINK: &str = "INSERT INTO audit (sequence, place, hash) \
     SELECT * FROM unnest($1::BIGINT[], $2::BIGINT[], $3::BYTEA[])";

/// Waits until everything that is committed by now lies before the horizon, and returns the last position
/// before it. If a transaction stays open for longer than [`HORIZON_PATIENCE`], returns an older horizon:
/// what is read up to it is stale, but has no gaps.
pub(super) async fn horizon(pool: &Pool) -> Result<FeedPosition, Failure> {
    let deadline = Instant::now() + HORIZON_PATIENCE;
    let mut wanted = None;
    loop {
        let rows = pool.query(HORIZON, Vec::new).await?;
        // `wanted` is fixed by the first look. Later transactions are not waited for, or a busy database
        // would never let this return.
        let (known, taken): (i64, i64) =
            first(&rows, |row| Ok((get(row, 0)?, get(row, 1)?)))?.unwrap_or((0, 0));
        if known >= *wanted.get_or_insert(taken) || Instant::now() >= deadline {
            return Ok(FeedPosition(known - 1));
        }
        sleep(HORIZON_LOOK).await;
    }
}

/// Chains all lines up to the horizon.
pub(super) async fn link(pool: &Pool) -> Result<(), Failure> {
    // Without a lock, since usually nothing is new and every market asks each second.
    if pool.query(UNLINKED, Vec::new).await?.is_empty() {
        return Ok(());
    }
    // A reader of the log must see the lines that were acknowledged before it asked, so these are waited for.
    horizon(pool).await?;
    // In steps, so that the advisory lock is released in between and a long backlog is shared with the other
    // markets.
    while link_some(pool).await? {}
    Ok(())
}

/// Chains up to [`STEP`] lines, and returns whether there may be more.
async fn link_some(pool: &Pool) -> Result<bool, Failure> {
    // On an error below, the seat is dropped, which closes the session and so releases the lock.
    let mut seat = pool.take().await?;
    seat.batch("BEGIN").await?;
    seat.query(LOCK, Vec::new()).await?;
    // Read after taking the lock: another market may have extended the chain while this one waited.
    let end = seat.query(END, Vec::new()).await?;
    let (head, place) = first(&end, |row| Ok::<_, Failure>((convert::audit_head(row)?, get(row, 2)?)))?
        .unwrap_or((Head::START, 0_i64));
    let lines = seat.query(LINES, params![place, STEP]).await?;
    let mut link = Link::after(head);
    // Recomputing a link that was lost gives the same hashes, because `LINES` are final: nothing can be
    // inserted before the horizon. So this transaction needs no durable commit.
    let (mut sequences, mut places, mut hashes) = (Vec::new(), Vec::<i64>::new(), Vec::new());
    for row in &lines {
        let AuditRow { sequence, hash, .. } = link.next_line(get(row, 1)?);
        sequences.push(sequence);
        places.push(get(row, 0)?);
        hashes.push(hash.0.to_vec());
    }
    let is_full = i64::try_from(lines.len()).is_ok_and(|count| count == STEP);
    if !lines.is_empty() {
        seat.query(LINK, params![sequences, places, hashes]).await?;
    }
    seat.batch("COMMIT").await?;
    seat.give_back();
    Ok(is_full)
}

/// Chains new lines periodically, until the store is closed.
pub(super) async fn keep_linked(pool: Weak<Pool>, market: Uuid) {
    // Jitter, so that markets which started together don't all wake at the same moment.
    sleep(PERIOD.mul_f64(f64::from(market.as_bytes()[0]) / 255.0)).await;
    while let Some(pool) = pool.upgrade() {
        if let Err(failure) = link(&pool).await {
            tracing::warn!(%failure, "can't chain the audit log; retrying");
        }
        // Not held while sleeping: the task must not keep the store open.
        drop(pool);
        sleep(PERIOD).await;
    }
}
