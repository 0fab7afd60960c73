//! Settles claims, and removes deliveries that were received or have expired.
//!
//! All of this happens under the mailbox's row lock, and these locks are taken in key order. Only expiry
//! works without it: it deletes the oldest deliveries and skips those that are being removed at the moment.

use std::collections::BTreeSet;

use souk_domain::{PartyId, Sequence, Timestamp};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    connection::params,
    convert::{self, first, get},
    error::Failure,
    pool::{Pool, Seat},
    rows::at_most,
    statements,
};
use crate::{Claim, LeaseEpoch, Retention, Settlement, Verdict};

/// Selects and locks the claims that are still the latest. The comparison of epochs is the fence, and the
/// lock keeps it valid until the commit.
const HELD: &str = "SELECT mailbox.party, mailbox.lease_epoch FROM mailbox \
     JOIN unnest($1::UUID[], $2::BIGINT[]) AS ended (party, epoch) \
     ON mailbox.party = ended.party AND mailbox.lease_epoch = ended.epoch \
     ORDER BY mailbox.party FOR NO KEY UPDATE OF mailbox";
const END_LEASES: &str = "UPDATE mailbox SET lease_owner = NULL, lease_until = 0 WHERE party = ANY($1)";
/// Records failures. The regular time of the next attempt is that before a probe, or else the retry's, unless an
/// order has come. If a probe was asked for meanwhile, it comes first.
const FAIL: &str = "UPDATE mailbox SET failures = failures + CASE WHEN regular_attempt IS NULL THEN 1 ELSE 0 END, \
     last_failure = ended.reason, \
     next_attempt = CASE WHEN next_attempt IS NULL THEN NULL WHEN is_probed THEN 0 \
     ELSE coalesce(regular_attempt, least(ended.retry_at, latest_attempt)) END, \
     regular_attempt = CASE WHEN is_probed THEN coalesce(regular_attempt, least(ended.retry_at, latest_attempt)) END, \
     is_probed = false, latest_attempt = NULL \
     FROM unnest($1::UUID[], $2::TEXT[], $3::BIGINT[]) AS ended (party, reason, retry_at) \
     WHERE mailbox.party = ended.party";
/// Releases mailboxes, which stay due only if something is pending. A subquery with LIMIT 1 rather than
/// EXISTS, for which the planner would scan all deliveries as long as statistics say that there are few.
const GIVE_BACK: &str = "UPDATE mailbox SET next_attempt = CASE WHEN \
     (SELECT true FROM delivery WHERE recipient = mailbox.party AND sequence > mailbox.acknowledged LIMIT 1) \
     THEN coalesce(next_attempt, 0) END WHERE party = ANY($1)";
/// Moves the unnamed consumer's cursor, but only to a sequence that the mailbox has assigned, and records that the
/// recipient has responded: its failures are reset, and what is pending is due at once.
const ACKNOWLEDGE: &str = "UPDATE mailbox SET acknowledged = greatest(acknowledged, taken.through), failures = 0, \
     last_failure = '', regular_attempt = NULL, is_probed = false, \
     next_attempt = CASE WHEN (SELECT true FROM delivery WHERE recipient = mailbox.party \
     AND sequence > greatest(mailbox.acknowledged, taken.through) LIMIT 1) THEN 0 END \
     FROM unnest($1::UUID[], $2::BIGINT[]) AS taken (recipient, through) \
     WHERE mailbox.party = taken.recipient AND taken.through <= mailbox.last_sequence";
/// Deletes the deliveries that every consumer has. The body of an event for one recipient is in its delivery; a
/// shared event is deleted when its retention is over.
const TAKE_OUT: &str = "DELETE FROM delivery USING mailbox WHERE mailbox.party = ANY($1) \
     AND delivery.recipient = mailbox.party AND delivery.sequence <= least(mailbox.acknowledged, \
     (SELECT min(consumer.acknowledged) FROM consumer WHERE consumer.party = mailbox.party))";
const COUNT: &str = "SELECT count(*) FROM mailbox JOIN delivery ON delivery.recipient = mailbox.party \
     AND delivery.sequence > mailbox.acknowledged WHERE mailbox.party = $1";

const EXPIRE: &str = "DELETE FROM delivery WHERE (recipient, sequence) IN \
     (SELECT recipient, sequence FROM delivery WHERE is_order = $1 AND occurred_at < $2 ORDER BY occurred_at LIMIT $3 \
     FOR UPDATE SKIP LOCKED) RETURNING 1";
/// Deletes shared events that no delivery refers to. Shared events are never about orders, and deliveries of
/// this age have just been dropped, so that few are left to search.
const EXPIRE_EVENTS: &str = "DELETE FROM event WHERE seq IN \
     (SELECT seq FROM event WHERE is_done AND occurred_at < $1 \
     AND NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.event = event.seq AND NOT delivery.is_order \
     AND delivery.occurred_at < $1) \
     ORDER BY occurred_at LIMIT $2 FOR UPDATE SKIP LOCKED)";

/// The statements whose plans are checked for scans.
#[cfg(test)]
pub(super) const PLANNED: &[&str] =
    &[HELD, END_LEASES, FAIL, GIVE_BACK, TAKE_OUT, ACKNOWLEDGE, COUNT, EXPIRE, EXPIRE_EVENTS];

/// Ends claims, and returns for each whether it was still the latest.
pub(super) async fn settle(pool: &Pool, settlements: &[Settlement]) -> Result<Vec<bool>, Failure> {
    let mut seat = pool.take().await?;
    seat.batch("BEGIN").await?;
    let parties: Vec<Uuid> = settlements.iter().map(|ended| ended.recipient.0).collect();
    let epochs: Vec<i64> = settlements.iter().map(|ended| ended.epoch.0).collect();
    let rows = seat.query(HELD, params![parties, epochs]).await?;
    let claim = |row: &Row| Ok::<_, Failure>((convert::party_id(row, 0)?, LeaseEpoch(get(row, 1)?)));
    let held = rows.iter().map(claim).collect::<Result<BTreeSet<_>, _>>()?;
    // Claims that do not hold any more are left out of everything below: their mailbox belongs to another
    // deliverer.
    if !held.is_empty() {
        let all: Vec<Uuid> = held.iter().map(|(party, _)| party.0).collect();
        // The rows stay locked until the commit, so nobody can claim a mailbox whose result is not applied
        // yet.
        seat.query(END_LEASES, params![all]).await?;
        let ended: Vec<_> =
            settlements.iter().filter(|ended| held.contains(&(ended.recipient, ended.epoch))).collect();
        apply(&mut seat, &ended).await?;
    }
    seat.batch("COMMIT").await?;
    seat.give_back();
    Ok(settlements.iter().map(|ended| held.contains(&(ended.recipient, ended.epoch))).collect())
}

/// Applies the verdicts, with one statement for each kind.
async fn apply(seat: &mut Seat<'_>, ended: &[&Settlement]) -> Result<(), Failure> {
    let (mut taken, mut released) = ((Vec::new(), Vec::new()), Vec::new());
    let mut failed = (Vec::new(), Vec::new(), Vec::new());
    for Settlement { recipient, verdict, .. } in ended {
        match verdict {
            Verdict::Delivered(through) => {
                taken.0.push(recipient.0);
                taken.1.push(through.0);
            }
            Verdict::Failed { retry_at, reason } => {
                failed.0.push(recipient.0);
                // PostgreSQL does not allow NUL in text.
                failed.1.push(reason.replace('\0', " "));
                failed.2.push(retry_at.0);
            }
            Verdict::Released => released.push(recipient.0),
        }
    }
    if !taken.0.is_empty() {
        take_out(seat, taken.0, taken.1).await?;
    }
    if !failed.0.is_empty() {
        seat.query(FAIL, params![failed.0, failed.1, failed.2]).await?;
    }
    if !released.is_empty() {
        seat.query(GIVE_BACK, params![released]).await?;
    }
    Ok(())
}

async fn take_out(seat: &mut Seat<'_>, recipients: Vec<Uuid>, through: Vec<i64>) -> Result<(), Failure> {
    // In this order, because the second statement looks at the cursor.
    seat.query(ACKNOWLEDGE, params![recipients.clone(), through]).await?;
    seat.query(TAKE_OUT, params![recipients]).await?;
    Ok(())
}

/// Releases claims of mailboxes in which nothing is pending.
pub(super) async fn give_back(pool: &Pool, claims: &[Claim]) -> Result<(), Failure> {
    let released = claims.iter().map(|claim| Settlement {
        recipient: claim.recipient,
        epoch: claim.epoch,
        verdict: Verdict::Released,
    });
    settle(pool, &released.collect::<Vec<_>>()).await.map(|_| ())
}

/// Moves the unnamed consumer's cursor, regardless of any lease, and returns the number of deliveries that wait
/// for it.
pub(super) async fn acknowledge(pool: &Pool, recipient: PartyId, through: Sequence) -> Result<i64, Failure> {
    let mut seat = pool.take().await?;
    seat.batch("BEGIN").await?;
    seat.query(statements::LOCK_MAILBOXES, params![vec![recipient.0]]).await?;
    take_out(&mut seat, vec![recipient.0], vec![through.0]).await?;
    let left = seat.query(COUNT, params![recipient.0]).await?;
    seat.batch("COMMIT").await?;
    seat.give_back();
    Ok(first(&left, |row| get(row, 0))?.unwrap_or(0))
}

/// Drops deliveries whose retention is over, and returns how many.
pub(super) async fn expire(
    pool: &Pool,
    now: Timestamp,
    retention: Retention,
    limit: usize,
) -> Result<usize, Failure> {
    let mut dropped = 0;
    for (is_order, kept) in [(false, retention.updates), (true, retention.orders)] {
        let (cutoff, left) = (now.minus(kept).0, at_most(limit - dropped));
        dropped += pool.query(EXPIRE, || params![is_order, cutoff, left]).await?.len();
    }
    let cutoff = now.minus(retention.updates).0;
    pool.query(EXPIRE_EVENTS, || params![cutoff, at_most(limit)]).await?;
    Ok(dropped)
}
