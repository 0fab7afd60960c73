//! Settles claims, and removes deliveries that were received or have expired.
//!
//! All of this happens under the mailbox's row lock, and these locks are taken in key order.

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
use crate::{
    Claim, LeaseEpoch, MAX_COUNTED, MAX_DEAD_LETTERS, Retention, Settlement, Verdict, dead_letter::EXPIRED,
    mailbox::REMOVAL_STEP,
};

/// Selects and locks the claims that are still the latest. The comparison of epochs is the fence, and the
/// lock keeps it valid until the commit.
const HELD: &str = "SELECT mailbox.party, mailbox.lease_epoch FROM mailbox \
     JOIN unnest($1::UUID[], $2::BIGINT[]) AS ended (party, epoch) \
     ON mailbox.party = ended.party AND mailbox.lease_epoch = ended.epoch \
     ORDER BY mailbox.party FOR NO KEY UPDATE OF mailbox";
const END_LEASES: &str = "UPDATE mailbox SET lease_owner = NULL, lease_until = 0 WHERE party = ANY($1)";
/// Records failures, with the current time if the recipient answered with an error. The regular time of the next attempt
/// is that before a probe, or else the retry's; sooner if an order has come meanwhile. If a probe was asked for
/// meanwhile, it comes first.
const FAIL: &str = "UPDATE mailbox SET failures = failures + CASE WHEN regular_attempt IS NULL THEN 1 ELSE 0 END, \
     refusals = refusals + CASE WHEN ended.refused_at IS NOT NULL AND regular_attempt IS NULL THEN 1 ELSE 0 END, \
     refused_since = coalesce(refused_since, CASE WHEN regular_attempt IS NULL THEN ended.refused_at END), \
     last_failure = ended.reason, reliability = 2, \
     next_attempt = CASE WHEN next_attempt IS NULL THEN NULL WHEN is_probed THEN 0 \
     ELSE least(coalesce(regular_attempt, ended.retry_at), latest_attempt) END, \
     regular_attempt = CASE WHEN is_probed THEN least(coalesce(regular_attempt, ended.retry_at), latest_attempt) END, \
     is_probed = false, latest_attempt = NULL \
     FROM unnest($1::UUID[], $2::TEXT[], $3::BIGINT[], $4::BIGINT[]) AS ended (party, reason, retry_at, refused_at) \
     WHERE mailbox.party = ended.party";
/// Releases mailboxes, which stay due only if something is pending. A subquery with LIMIT 1 rather than
/// EXISTS, for which the planner would scan all deliveries as long as statistics say that there are few.
const GIVE_BACK: &str = "UPDATE mailbox SET next_attempt = CASE WHEN \
     (SELECT true FROM delivery WHERE recipient = mailbox.party AND sequence > mailbox.acknowledged LIMIT 1) \
     THEN coalesce(next_attempt, 0) END \
     WHERE party = ANY($1)";
/// Up to where at most as many released deliveries lie. By their number: there may be a million sequences without a
/// delivery.
macro_rules! removal_bound {
    ($mailbox:literal, $limit:literal) => {
        concat!(
            "CASE WHEN ",
            $mailbox,
            ".released - ",
            $mailbox,
            ".removed <= ",
            $limit,
            " THEN ",
            $mailbox,
            ".released ELSE coalesce((SELECT delivery.sequence FROM delivery WHERE delivery.recipient = ",
            $mailbox,
            ".party AND delivery.sequence > ",
            $mailbox,
            ".removed AND delivery.sequence <= ",
            $mailbox,
            ".released ORDER BY delivery.sequence LIMIT 1 OFFSET ",
            $limit,
            " - 1), ",
            $mailbox,
            ".released) END"
        )
    };
}
/// Moves the cursors of unnamed consumers, but only up to a sequence that the mailbox has assigned, releases what
/// every consumer has, and deletes at most `$3` deliveries of that; [`REMOVE_SOME`] deletes the rest. The failures are
/// reset, because the recipient has responded, and what is pending is due at once. The body of an event for one recipient
/// is in its delivery; a shared event is deleted when its retention is over.
const TAKE_OUT: &str = concat!(
    "WITH moved AS (SELECT mailbox.party, mailbox.removed, \
     greatest(mailbox.acknowledged, named.through) AS cursor, \
     greatest(mailbox.released, least(greatest(mailbox.acknowledged, named.through), \
     (SELECT min(consumer.acknowledged) FROM consumer WHERE consumer.party = mailbox.party))) AS released \
     FROM unnest($1::UUID[], $2::BIGINT[]) AS named (recipient, through) \
     JOIN mailbox ON mailbox.party = named.recipient AND named.through <= mailbox.last_sequence), \
     taken AS (SELECT *, ",
    removal_bound!("moved", "$3"),
    " AS bound FROM moved), \
     gone AS (DELETE FROM delivery USING taken WHERE delivery.recipient = taken.party \
     AND delivery.sequence > taken.removed AND delivery.sequence <= taken.bound RETURNING delivery.recipient), \
     counted AS (SELECT recipient, count(*) AS count FROM gone GROUP BY recipient) \
     UPDATE mailbox SET acknowledged = taken.cursor, released = taken.released, \
     removed = greatest(mailbox.removed, taken.bound), quiet = last_order <= taken.cursor, failures = 0, \
     last_failure = '', refusals = 0, refused_since = NULL, regular_attempt = NULL, is_probed = false, \
     reliability = CASE WHEN $4 THEN 0 WHEN reliability = 2 THEN 1 ELSE reliability END, \
     pending = CASE WHEN rest.is_any \
     THEN greatest(1, pending - coalesce((SELECT counted.count FROM counted WHERE counted.recipient = taken.party), 0)) \
     ELSE 0 END, \
     next_attempt = CASE WHEN rest.is_pending THEN 0 END \
     FROM taken CROSS JOIN LATERAL (SELECT (SELECT true FROM delivery WHERE delivery.recipient = taken.party \
     AND delivery.sequence > taken.cursor LIMIT 1) AS is_pending, \
     (SELECT true FROM delivery WHERE delivery.recipient = taken.party \
     AND delivery.sequence > taken.bound LIMIT 1) AS is_any) AS rest \
     WHERE mailbox.party = taken.party"
);
/// Deletes at most `$2` released deliveries from each mailbox. Returns how many; 1 if there was none, but that was not
/// known.
pub(super) const REMOVE_SOME: &str = concat!(
    "WITH old AS (SELECT mailbox.party, mailbox.removed, ",
    removal_bound!("mailbox", "$2"),
    " AS bound FROM mailbox WHERE mailbox.party = ANY($1)), \
     gone AS (DELETE FROM delivery USING old WHERE delivery.recipient = old.party \
     AND delivery.sequence > old.removed AND delivery.sequence <= old.bound RETURNING delivery.recipient), \
     counted AS (SELECT recipient, count(*) AS count FROM gone GROUP BY recipient) \
     UPDATE mailbox SET removed = greatest(mailbox.removed, old.bound), pending = greatest(0, \
     pending - coalesce((SELECT counted.count FROM counted WHERE counted.recipient = old.party), 0)) \
     FROM old WHERE mailbox.party = old.party RETURNING CASE WHEN old.bound <= old.removed THEN 0 ELSE greatest(1, \
     coalesce((SELECT counted.count FROM counted WHERE counted.recipient = old.party), 0)) END"
);
/// Mailboxes with released deliveries that were not removed yet.
const TO_EMPTY: &str = "SELECT party FROM mailbox WHERE removed < released LIMIT 1";
/// The number of deliveries that wait for the unnamed consumer; NULL while released ones are still to be removed. They
/// are counted, up to `$2`, only while a named consumer holds others back.
const PENDING_COUNT: &str = "SELECT CASE WHEN removed < released THEN NULL WHEN removed >= acknowledged THEN pending \
     ELSE (SELECT count(*) FROM (SELECT 1 FROM delivery WHERE delivery.recipient = $1 \
     AND delivery.sequence > mailbox.acknowledged LIMIT $2) AS waiting) END FROM mailbox WHERE mailbox.party = $1";

/// Finds deliveries whose retention is over.
const OLD: &str = "SELECT recipient, sequence FROM delivery WHERE is_order = $1 AND occurred_at < $2 \
     ORDER BY occurred_at LIMIT $3";
/// Locks mailboxes, except those that others work on.
const LOCK_FREE: &str =
    "SELECT party FROM mailbox WHERE party = ANY($1) ORDER BY party FOR NO KEY UPDATE SKIP LOCKED";
/// Drops deliveries that not every consumer has. They count for the named consumers that miss them and, unless it has them,
/// for the unnamed consumer; then those about orders are kept as dead letters. An order event is in its delivery, because
/// it is for one recipient.
const DROP: &str = "WITH gone AS (DELETE FROM delivery USING unnest($1::UUID[], $2::BIGINT[]) AS old (recipient, sequence) \
     WHERE delivery.recipient = old.recipient AND delivery.sequence = old.sequence \
     AND delivery.sequence > (SELECT mailbox.released FROM mailbox WHERE mailbox.party = old.recipient) \
     RETURNING delivery.recipient, delivery.sequence, delivery.is_order, delivery.body, delivery.sequence > \
     (SELECT mailbox.acknowledged FROM mailbox WHERE mailbox.party = delivery.recipient) AS is_lost), \
     dead AS (INSERT INTO dead_letter (recipient, body, reason, died_at) SELECT recipient, body, $3, $4 FROM gone \
     WHERE is_order AND is_lost AND body IS NOT NULL ORDER BY recipient, sequence), \
     missed AS (UPDATE consumer SET missed_orders = missed_orders + told.orders, \
     missed_updates = missed_updates + told.updates FROM (SELECT consumer.party, consumer.name, \
     count(*) FILTER (WHERE gone.is_order) AS orders, count(*) FILTER (WHERE NOT gone.is_order) AS updates \
     FROM gone JOIN consumer ON consumer.party = gone.recipient AND consumer.acknowledged < gone.sequence \
     GROUP BY consumer.party, consumer.name) AS told \
     WHERE consumer.party = told.party AND consumer.name = told.name), \
     counted AS (SELECT recipient, count(*) AS count, count(*) FILTER (WHERE is_order AND is_lost) AS orders, \
     count(*) FILTER (WHERE NOT is_order AND is_lost) AS updates FROM gone GROUP BY recipient) \
     UPDATE mailbox SET pending = greatest(0, pending - counted.count), \
     dropped_orders = dropped_orders + counted.orders, dropped_updates = dropped_updates + counted.updates, \
     last_dropped = CASE WHEN counted.orders + counted.updates > 0 THEN $4 ELSE last_dropped END, \
     missed_orders = missed_orders + counted.orders, missed_updates = missed_updates + counted.updates FROM counted \
     WHERE mailbox.party = counted.recipient RETURNING counted.count";
/// Drops a delivery for the unnamed consumer, unless that has it: counts it, and keeps it as a dead letter if it is about
/// an order. It stays for the named consumers.
const BURY: &str = "WITH lost AS (SELECT delivery.recipient, delivery.is_order, delivery.body FROM delivery \
     WHERE delivery.recipient = $1 AND delivery.sequence = $2 \
     AND delivery.sequence > (SELECT mailbox.acknowledged FROM mailbox WHERE mailbox.party = $1)), \
     dead AS (INSERT INTO dead_letter (recipient, body, reason, died_at) SELECT recipient, body, $3, $4 FROM lost \
     WHERE is_order AND body IS NOT NULL) \
     UPDATE mailbox SET dropped_orders = dropped_orders + lost.is_order::INTEGER, \
     dropped_updates = dropped_updates + (NOT lost.is_order)::INTEGER, \
     missed_orders = missed_orders + lost.is_order::INTEGER, \
     missed_updates = missed_updates + (NOT lost.is_order)::INTEGER, last_dropped = $4 \
     FROM lost WHERE mailbox.party = $1 AND mailbox.party = lost.recipient";
/// Deletes the oldest dead letters of mailboxes that have more than `$2`.
const PRUNE_DEAD: &str = "DELETE FROM dead_letter WHERE id IN (SELECT surplus.id FROM unnest($1::UUID[]) AS named (party) \
     CROSS JOIN LATERAL (SELECT id FROM dead_letter WHERE dead_letter.recipient = named.party \
     ORDER BY id DESC OFFSET $2) AS surplus)";
/// Deletes shared events that were expanded and that no delivery refers to. Shared events are never about
/// orders, and a delivery has the time of its event, by which it is found.
const FORGET_EVENTS: &str = "DELETE FROM event WHERE seq IN \
     (SELECT seq FROM event AS old WHERE is_done AND occurred_at < $1 \
     AND (SELECT true FROM delivery WHERE NOT delivery.is_order AND delivery.occurred_at = old.occurred_at \
     AND delivery.event = old.seq LIMIT 1) IS NULL \
     ORDER BY occurred_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1";

/// The statements whose plans are checked for scans.
#[cfg(test)]
pub(super) const PLANNED: &[&str] = &[
    HELD,
    END_LEASES,
    FAIL,
    GIVE_BACK,
    TAKE_OUT,
    REMOVE_SOME,
    TO_EMPTY,
    PENDING_COUNT,
    OLD,
    LOCK_FREE,
    DROP,
    BURY,
    PRUNE_DEAD,
    FORGET_EVENTS,
];

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
    let mut failed = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut dead = Vec::new();
    for Settlement { recipient, verdict, .. } in ended {
        match verdict {
            Verdict::Delivered(through) => {
                taken.0.push(recipient.0);
                taken.1.push(through.0);
            }
            Verdict::Dead { sequence, reason, at } => dead.push((*recipient, *sequence, reason, *at)),
            Verdict::Failed { retry_at, reason } | Verdict::Refused { retry_at, reason, .. } => {
                let refused_at = if let Verdict::Refused { at, .. } = verdict { Some(at.0) } else { None };
                failed.3.push(refused_at);
                failed.0.push(recipient.0);
                // PostgreSQL does not allow NUL in text.
                failed.1.push(reason.replace('\0', " "));
                failed.2.push(retry_at.0);
            }
            Verdict::Released => released.push(recipient.0),
        }
    }
    if !taken.0.is_empty() {
        let (recipients, through) = taken;
        seat.query(TAKE_OUT, params![recipients, through, REMOVAL_STEP, true]).await?;
    }
    if !failed.0.is_empty() {
        seat.query(FAIL, params![failed.0, failed.1, failed.2, failed.3]).await?;
    }
    // One after another: a recipient refuses an event for good only rarely.
    for (recipient, sequence, reason, at) in dead {
        let (recipient, reason) = (recipient.0, reason.replace('\0', " "));
        seat.query(BURY, params![recipient, sequence.0, reason, at.0]).await?;
        seat.query(PRUNE_DEAD, params![vec![recipient], at_most(MAX_DEAD_LETTERS)]).await?;
        seat.query(TAKE_OUT, params![vec![recipient], vec![sequence.0], REMOVAL_STEP, false]).await?;
    }
    if !released.is_empty() {
        seat.query(GIVE_BACK, params![released]).await?;
    }
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

/// Removes everything up to a sequence, regardless of any lease. Returns the number of pending deliveries;
/// `None` while acknowledged ones are still to be removed.
pub(super) async fn acknowledge(
    pool: &Pool,
    recipient: PartyId,
    through: Sequence,
) -> Result<Option<i64>, Failure> {
    let mut seat = pool.take().await?;
    seat.batch("BEGIN").await?;
    seat.query(statements::LOCK_MAILBOXES, params![vec![recipient.0]]).await?;
    seat.query(TAKE_OUT, params![vec![recipient.0], vec![through.0], REMOVAL_STEP, false]).await?;
    let left = seat.query(PENDING_COUNT, params![recipient.0, at_most(MAX_COUNTED)]).await?;
    seat.batch("COMMIT").await?;
    seat.give_back();
    // A party without a mailbox has nothing pending.
    Ok(first(&left, |row| get(row, 0))?.unwrap_or(Some(0)))
}

/// Removes acknowledged deliveries of a bounded number of sequences from a mailbox. Returns the number of these
/// sequences, and of the pending deliveries as [`acknowledge`] does.
pub(super) async fn remove_some(
    pool: &Pool,
    recipient: PartyId,
    limit: i64,
) -> Result<(usize, Option<i64>), Failure> {
    let mut seat = pool.take().await?;
    seat.batch("BEGIN").await?;
    seat.query(statements::LOCK_MAILBOXES, params![vec![recipient.0]]).await?;
    let removed = seat.query(REMOVE_SOME, params![vec![recipient.0], limit]).await?;
    let left = seat.query(PENDING_COUNT, params![recipient.0, at_most(MAX_COUNTED)]).await?;
    seat.batch("COMMIT").await?;
    seat.give_back();
    let removed: i64 = first(&removed, |row| get(row, 0))?.unwrap_or(0);
    Ok((usize::try_from(removed).unwrap_or(0), first(&left, |row| get(row, 0))?.unwrap_or(Some(0))))
}

/// Does the same for any mailboxes.
pub(super) async fn remove_acknowledged(pool: &Pool, limit: usize) -> Result<usize, Failure> {
    let mut done = 0;
    while done < limit {
        let rows = pool.query(TO_EMPTY, Vec::new).await?;
        let Some(mailbox) = first(&rows, |row| convert::party_id(row, 0))? else { break };
        done += remove_some(pool, mailbox, at_most(limit - done)).await?.0;
    }
    Ok(done)
}

/// Drops deliveries whose retention is over, and returns how many. Mailboxes that others work on are left for
/// the next time.
pub(super) async fn expire(
    pool: &Pool,
    now: Timestamp,
    retention: Retention,
    limit: usize,
) -> Result<usize, Failure> {
    let mut dropped = 0;
    for (is_order, kept) in [(false, retention.updates), (true, retention.orders)] {
        let (cutoff, left) = (now.minus(kept).0, at_most(limit - dropped));
        let old = pool.query(OLD, || params![is_order, cutoff, left]).await?;
        if !old.is_empty() {
            dropped += drop_some(pool, &old, now).await?;
        }
    }
    Ok(dropped)
}

async fn drop_some(pool: &Pool, old: &[Row], now: Timestamp) -> Result<usize, Failure> {
    let found = old.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?)));
    let found: Vec<(Uuid, i64)> = found.collect::<Result<_, Failure>>()?;
    let parties: BTreeSet<Uuid> = found.iter().map(|(party, _)| *party).collect();
    let mut seat = pool.take().await?;
    seat.batch("BEGIN").await?;
    // First, as everywhere: a transaction that holds a mailbox may wait for its deliveries, but not the other way round.
    let free = seat.query(LOCK_FREE, params![parties.into_iter().collect::<Vec<_>>()]).await?;
    let free: BTreeSet<Uuid> = free.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    let (parties, sequences): (Vec<Uuid>, Vec<i64>) =
        found.into_iter().filter(|(party, _)| free.contains(party)).unzip();
    let dropped = seat.query(DROP, params![parties.clone(), sequences, EXPIRED.to_owned(), now.0]).await?;
    seat.query(PRUNE_DEAD, params![parties, at_most(MAX_DEAD_LETTERS)]).await?;
    let counts = dropped.iter().map(|row| get::<i64>(row, 0)).collect::<Result<Vec<_>, _>>()?;
    seat.batch("COMMIT").await?;
    seat.give_back();
    Ok(counts.into_iter().filter_map(|count| usize::try_from(count).ok()).sum())
}

/// Deletes shared events that no delivery refers to, and returns how many.
pub(super) async fn forget_events(pool: &Pool, before: Timestamp, limit: usize) -> Result<usize, Failure> {
    Ok(pool.query(FORGET_EVENTS, || params![before.0, at_most(limit)]).await?.len())
}
