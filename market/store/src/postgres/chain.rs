//! The audit log's chain, and the horizon that it and the feed are read up to.
//!
//! Lanes put lines into the log in the transactions that they tell of, each in a *place* of its transaction, and
//! no lane waits for another. The chain of hashes is linked afterwards, by whoever holds the lock for it, in the
//! order of the places and only up to the horizon: before it nothing can be put in any more. So the chain is a
//! function of the lines alone; a link that a power loss forgets is made again just as it was. Until then, a line
//! is protected by nothing but the database: at most for about a second, or until somebody reads the log.

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

/// How often lines are linked that nobody has asked for.
const PERIOD: Duration = Duration::from_secs(1);
/// Lines of one transaction.
const STEP: i64 = 1_000;
/// How long a query waits for the transactions that were under way when it began. They take a few milliseconds.
pub(super) const HORIZON_PATIENCE: Duration = Duration::from_millis(500);
/// How often it looks.
pub(super) const HORIZON_LOOK: Duration = Duration::from_millis(2);

/// How far back transactions are open, and how far they have come.
pub(super) const HORIZON: &str = "SELECT known, taken FROM place_horizon";

/// Whether there is a line that is not in the chain, known to be final or not.
const UNLINKED: &str = "SELECT 1 FROM audit_line \
     WHERE place > coalesce((SELECT place FROM audit ORDER BY sequence DESC LIMIT 1), 0) LIMIT 1";
const LOCK: &str = "SELECT pg_advisory_xact_lock(1936682347, 2)";
const END: &str = "SELECT sequence, hash, place FROM audit ORDER BY sequence DESC LIMIT 1";
const LINES: &str = "SELECT place, line FROM audit_line \
     WHERE place > $1 AND place < (SELECT known FROM place_horizon) ORDER BY place LIMIT $2";
const LINK: &str = "INSERT INTO audit (sequence, place, hash) \
     SELECT * FROM unnest($1::BIGINT[], $2::BIGINT[], $3::BYTEA[])";

/// Waits until everything that was committed by now lies before the horizon; answers the horizon. It may lie
/// further back, when a transaction stays open for long: then what is read is old, and never has gaps.
pub(super) async fn horizon(pool: &Pool) -> Result<FeedPosition, Failure> {
    let deadline = Instant::now() + HORIZON_PATIENCE;
    let mut wanted = None;
    loop {
        let rows = pool.query(HORIZON, Vec::new).await?;
        let (known, taken): (i64, i64) =
            first(&rows, |row| Ok((get(row, 0)?, get(row, 1)?)))?.unwrap_or((0, 0));
        if known >= *wanted.get_or_insert(taken) || Instant::now() >= deadline {
            return Ok(FeedPosition(known - 1));
        }
        sleep(HORIZON_LOOK).await;
    }
}

/// Links all lines up to the horizon.
pub(super) async fn link(pool: &Pool) -> Result<(), Failure> {
    if pool.query(UNLINKED, Vec::new).await?.is_empty() {
        return Ok(());
    }
    horizon(pool).await?;
    while link_some(pool).await? {}
    Ok(())
}

/// One step; answers whether there may be more.
async fn link_some(pool: &Pool) -> Result<bool, Failure> {
    let mut seat = pool.take().await?;
    seat.batch("BEGIN").await?;
    seat.query(LOCK, Vec::new()).await?;
    let end = seat.query(END, Vec::new()).await?;
    let (head, place) = first(&end, |row| Ok::<_, Failure>((convert::audit_head(row)?, get(row, 2)?)))?
        .unwrap_or((Head::START, 0_i64));
    let lines = seat.query(LINES, params![place, STEP]).await?;
    let mut link = Link::after(head);
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

/// Links now and then, until the store is closed.
pub(super) async fn keep_linked(pool: Weak<Pool>, market: Uuid) {
    // Markets take turns by chance, not all at the same moment.
    sleep(PERIOD.mul_f64(f64::from(market.as_bytes()[0]) / 255.0)).await;
    while let Some(pool) = pool.upgrade() {
        if let Err(failure) = link(&pool).await {
            tracing::warn!(%failure, "the audit log's chain was not linked; it is tried again");
        }
        drop(pool);
        sleep(PERIOD).await;
    }
}
