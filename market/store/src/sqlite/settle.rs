//! Settles claims, and removes deliveries that were received or have expired.

use std::collections::BTreeMap;

use rusqlite::{Connection, Error, OptionalExtension as _, params};
use souk_domain::{PartyId, Sequence, Timestamp};

use super::{
    burial::{Doomed, bury, count_missed},
    convert::{self, blob},
    rows::at_most,
};
use crate::{
    MAX_COUNTED, Retention, Settlement, Verdict, dead_letter::EXPIRED, mailbox::REMOVAL_STEP,
    reliability::TakenBy,
};

/// Ends one claim, and returns whether it was still the latest.
pub(super) fn settle(transaction: &Connection, settlement: &Settlement) -> Result<bool, Error> {
    let Settlement { recipient, epoch, verdict } = settlement;
    // The epoch in the condition is the fence: if the mailbox has been claimed since, no row matches.
    let held = "UPDATE mailbox SET lease_owner = NULL, lease_until = 0 WHERE party = ? AND lease_epoch = ?";
    if transaction.prepare_cached(held)?.execute(params![blob(*recipient), epoch.0])? == 0 {
        return Ok(false);
    }
    match verdict {
        Verdict::Delivered(through) => take_out(transaction, *recipient, *through, TakenBy::Callback)?,
        Verdict::Failed { retry_at, reason } => fail(transaction, *recipient, *retry_at, reason, None)?,
        Verdict::Refused { retry_at, reason, at } => {
            fail(transaction, *recipient, *retry_at, reason, Some(*at))?;
        }
        Verdict::Dead { sequence, reason, at } => drop_one(transaction, *recipient, *sequence, reason, *at)?,
        Verdict::Released => give_back(transaction, *recipient)?,
    }
    Ok(true)
}

/// Records a failed attempt, with the current time if the recipient answered with an error.
fn fail(
    transaction: &Connection,
    recipient: PartyId,
    retry_at: Timestamp,
    reason: &str,
    refused_at: Option<Timestamp>,
) -> Result<(), Error> {
    // The regular time is that before the probe, or else the retry's; sooner if an order has come meanwhile. If a
    // probe was asked for meanwhile, it comes first. All right-hand sides read the row as it was.
    let failed = "UPDATE mailbox SET failures = failures + (regular_attempt IS NULL), last_failure = ?2, \
                  refusals = refusals + (?4 IS NOT NULL AND regular_attempt IS NULL), \
                  refused_since = coalesce(refused_since, iif(regular_attempt IS NULL, ?4, NULL)), \
                  reliability = 2, \
                  next_attempt = CASE WHEN next_attempt IS NULL THEN NULL WHEN is_probed THEN 0 \
                  ELSE min(coalesce(regular_attempt, ?3), coalesce(latest_attempt, regular_attempt, ?3)) END, \
                  regular_attempt = CASE WHEN is_probed \
                  THEN min(coalesce(regular_attempt, ?3), coalesce(latest_attempt, regular_attempt, ?3)) END, \
                  is_probed = 0, latest_attempt = NULL WHERE party = ?1";
    let params = params![blob(recipient), reason, retry_at.0, refused_at.map(|at| at.0)];
    transaction.prepare_cached(failed)?.execute(params)?;
    Ok(())
}

/// Drops a delivery, which the callback has refused too often, for the unnamed consumer.
fn drop_one(
    transaction: &Connection,
    recipient: PartyId,
    sequence: Sequence,
    reason: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "SELECT is_order FROM delivery WHERE recipient = ?1 AND sequence = ?2 \
               AND sequence > (SELECT acknowledged FROM mailbox WHERE party = ?1)";
    let found = transaction
        .prepare_cached(sql)?
        .query_row(params![blob(recipient), sequence.0], |row| row.get(0))
        .optional()?;
    if let Some(is_order) = found {
        bury(transaction, &Doomed { recipient, sequence: sequence.0, is_order }, reason, now)?;
    }
    take_out(transaction, recipient, sequence, TakenBy::Acknowledgement)
}

/// Moves the unnamed consumer's cursor to a sequence, removes what every consumer has, and resets the failures,
/// because the recipient has responded. A sequence that the mailbox never assigned has no effect.
///
/// The cursor moves at once. Of very many deliveries a part is left for [`remove_some`].
pub(super) fn take_out(
    transaction: &Connection,
    recipient: PartyId,
    through: Sequence,
    by: TakenBy,
) -> Result<(), Error> {
    let marks = "SELECT last_sequence, acknowledged FROM mailbox WHERE party = ?";
    let (last, acknowledged): (i64, i64) = transaction
        .prepare_cached(marks)?
        .query_row([blob(recipient)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if through.0 > last {
        return Ok(());
    }
    let acknowledged = acknowledged.max(through.0);
    let mailbox = "UPDATE mailbox SET acknowledged = ?2, quiet = last_order <= ?2, failures = 0, last_failure = '', \
                   refusals = 0, refused_since = NULL, regular_attempt = NULL, is_probed = 0, reliability = CASE WHEN ?3 THEN 0 \
                   WHEN reliability = 2 THEN 1 ELSE reliability END WHERE party = ?1";
    let by_callback = by == TakenBy::Callback;
    transaction.prepare_cached(mailbox)?.execute(params![blob(recipient), acknowledged, by_callback])?;
    release(transaction, recipient, Some(acknowledged))?;
    remove_some(transaction, recipient, REMOVAL_STEP)?;
    let due = "UPDATE mailbox SET next_attempt = CASE WHEN EXISTS \
               (SELECT 1 FROM delivery WHERE recipient = ?1 AND sequence > acknowledged) \
               THEN min(coalesce(next_attempt, 0), 0) END WHERE party = ?1";
    transaction.prepare_cached(due)?.execute([blob(recipient)])?;
    Ok(())
}

/// Releases what every consumer has, for removal. `unnamed` is the cursor of the unnamed consumer, if it counts.
pub(super) fn release(
    transaction: &Connection,
    recipient: PartyId,
    unnamed: Option<i64>,
) -> Result<(), Error> {
    let least = "SELECT min(acknowledged) FROM consumer WHERE party = ?";
    let named: Option<i64> =
        transaction.prepare_cached(least)?.query_row([blob(recipient)], |row| row.get(0))?;
    if let Some(through) = unnamed.into_iter().chain(named).min() {
        let sql = "UPDATE mailbox SET released = ?2 WHERE party = ?1 AND released < ?2";
        transaction.prepare_cached(sql)?.execute(params![blob(recipient), through])?;
    }
    Ok(())
}

/// Removes the deliveries of some sequences, and returns how many there were.
fn remove(transaction: &Connection, recipient: PartyId, after: i64, through: i64) -> Result<i64, Error> {
    // An event for one recipient is deleted with its delivery; a shared one when its retention is over.
    // Events before deliveries, because they are found through them.
    let events = "DELETE FROM event WHERE fans_out = 0 AND seq IN \
                  (SELECT event FROM delivery WHERE recipient = ? AND sequence > ? AND sequence <= ? AND event > 0)";
    transaction.prepare_cached(events)?.execute(params![blob(recipient), after, through])?;
    let deliveries = "DELETE FROM delivery WHERE recipient = ? AND sequence > ? AND sequence <= ?";
    let count = transaction.prepare_cached(deliveries)?.execute(params![blob(recipient), after, through])?;
    Ok(at_most(count))
}

/// Returns the number of deliveries that wait for the unnamed consumer; `None` while released ones are still to be
/// removed. They are counted, up to [`MAX_COUNTED`], only while a named consumer holds others back.
pub(super) fn pending(connection: &Connection, recipient: PartyId) -> Result<Option<i64>, Error> {
    let sql = "SELECT CASE WHEN removed < released THEN NULL WHEN removed >= acknowledged THEN pending ELSE \
               (SELECT count(*) FROM (SELECT 1 FROM delivery WHERE recipient = ?1 AND sequence > acknowledged LIMIT ?2)) \
               END FROM mailbox WHERE party = ?1";
    let params = params![blob(recipient), at_most(MAX_COUNTED)];
    connection.prepare_cached(sql)?.query_row(params, |row| row.get(0))
}

/// Removes up to `limit` released deliveries from a mailbox. Returns how many; 1 if there was none, but that was not
/// known.
pub(super) fn remove_some(transaction: &Connection, recipient: PartyId, limit: i64) -> Result<usize, Error> {
    let marks = "SELECT removed, released FROM mailbox WHERE party = ?";
    let (removed, released): (i64, i64) = transaction
        .prepare_cached(marks)?
        .query_row([blob(recipient)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if released <= removed {
        return Ok(0);
    }
    // By their number: there may be a million sequences without a delivery, which a restored store has skipped.
    let last = "SELECT sequence FROM delivery WHERE recipient = ? AND sequence > ? AND sequence <= ? \
                ORDER BY sequence LIMIT 1 OFFSET ?";
    let bound = if released - removed <= limit {
        released
    } else {
        let params = params![blob(recipient), removed, released, limit - 1];
        let last = transaction.prepare_cached(last)?.query_row(params, |row| row.get(0)).optional()?;
        last.unwrap_or(released)
    };
    let count = remove(transaction, recipient, removed, bound)?;
    let mailbox = "UPDATE mailbox SET removed = ?2, pending = pending - ?3 WHERE party = ?1";
    transaction.prepare_cached(mailbox)?.execute(params![blob(recipient), bound, count])?;
    Ok(usize::try_from(count).unwrap_or(0).max(1))
}

/// Does the same for any mailboxes.
pub(super) fn remove_acknowledged(transaction: &Connection, limit: usize) -> Result<usize, Error> {
    let mut next =
        transaction.prepare_cached("SELECT party FROM mailbox WHERE removed < released LIMIT 1")?;
    let mut done = 0;
    while done < limit {
        let Some(mailbox) = next.query_row([], |row| convert::party_id(row, 0)).optional()? else { break };
        done += remove_some(transaction, mailbox, at_most(limit - done))?;
    }
    Ok(done)
}

/// Ends a lease. The mailbox stays due only if something is pending.
pub(super) fn give_back(transaction: &Connection, recipient: PartyId) -> Result<(), Error> {
    let sql = "UPDATE mailbox SET lease_owner = NULL, lease_until = 0, next_attempt = CASE WHEN EXISTS \
               (SELECT 1 FROM delivery WHERE recipient = ?1 AND sequence > acknowledged) \
               THEN coalesce(next_attempt, 0) END WHERE party = ?1";
    transaction.prepare_cached(sql)?.execute([blob(recipient)])?;
    Ok(())
}

/// Returns the deliveries from before a time, with the numbers of their events, and whether the unnamed consumer lacks them.
/// What every consumer has is left out.
fn over(
    transaction: &Connection,
    is_order: bool,
    before: i64,
    limit: i64,
) -> Result<Vec<(Doomed, i64, bool)>, Error> {
    let old = "SELECT recipient, sequence, event, sequence > acknowledged FROM \
               (SELECT recipient, sequence, event FROM delivery WHERE is_order = ? AND occurred_at < ? \
               ORDER BY occurred_at LIMIT ?) JOIN mailbox ON party = recipient WHERE sequence > released";
    let mut old = transaction.prepare_cached(old)?;
    let found = old.query_map(params![is_order, before, limit], |row| {
        let (recipient, sequence) = (convert::party_id(row, 0)?, row.get(1)?);
        Ok((Doomed { recipient, sequence, is_order }, row.get(2)?, row.get(3)?))
    })?;
    found.collect()
}

/// Drops deliveries whose retention is over, and returns how many.
pub(super) fn expire(
    transaction: &Connection,
    now: Timestamp,
    retention: Retention,
    limit: usize,
) -> Result<usize, Error> {
    let mut dropped = 0;
    let mut lost: BTreeMap<PartyId, i64> = BTreeMap::new();
    for (is_order, kept) in [(false, retention.updates), (true, retention.orders)] {
        let cutoff = now.minus(kept).0;
        for (doomed, event, is_lost) in over(transaction, is_order, cutoff, at_most(limit - dropped))? {
            count_missed(transaction, &doomed)?;
            if is_lost {
                bury(transaction, &doomed, EXPIRED, now)?;
            }
            let delivery = "DELETE FROM delivery WHERE recipient = ? AND sequence = ?";
            transaction
                .prepare_cached(delivery)?
                .execute(params![blob(doomed.recipient), doomed.sequence])?;
            let own = "DELETE FROM event WHERE seq = ? AND fans_out = 0";
            transaction.prepare_cached(own)?.execute([event])?;
            *lost.entry(doomed.recipient).or_default() += 1;
            dropped += 1;
        }
    }
    let mut count = transaction.prepare_cached("UPDATE mailbox SET pending = pending - ? WHERE party = ?")?;
    for (recipient, lost) in lost {
        count.execute(params![lost, blob(recipient)])?;
    }
    Ok(dropped)
}

/// Deletes shared events that were expanded and that no delivery refers to, and returns how many. A delivery has
/// the time of its event, by which it is found.
pub(super) fn forget_events(
    transaction: &Connection,
    before: Timestamp,
    limit: usize,
) -> Result<usize, Error> {
    let sql = "DELETE FROM event WHERE seq IN (SELECT seq FROM event AS old WHERE fans_out = 1 AND occurred_at < ? \
               AND NOT EXISTS (SELECT 1 FROM fan_out WHERE fan_out.event = old.seq) \
               AND NOT EXISTS (SELECT 1 FROM delivery WHERE is_order = 0 AND delivery.occurred_at = old.occurred_at \
               AND delivery.event = old.seq) ORDER BY occurred_at LIMIT ?)";
    transaction.prepare_cached(sql)?.execute(params![before.0, at_most(limit)])
}
