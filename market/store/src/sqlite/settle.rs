//! Settles claims, and removes deliveries that were received or have expired.

use rusqlite::{Connection, Error, params};
use souk_domain::{PartyId, Sequence, Timestamp};

use super::{
    convert::{self, blob},
    deliveries::last_sequence,
    received::remove_received,
    rows::at_most,
};
use crate::{Retention, Settlement, Verdict};

/// Ends one claim, and returns whether it was still the latest.
pub(super) fn settle(transaction: &Connection, settlement: &Settlement) -> Result<bool, Error> {
    let Settlement { recipient, epoch, verdict } = settlement;
    // The epoch in the condition is the fence: if the mailbox has been claimed since, no row matches.
    let held = "UPDATE mailbox SET lease_owner = NULL, lease_until = 0 WHERE party = ? AND lease_epoch = ?";
    if transaction.prepare_cached(held)?.execute(params![blob(*recipient), epoch.0])? == 0 {
        return Ok(false);
    }
    match verdict {
        Verdict::Delivered(through) => take_out(transaction, *recipient, *through)?,
        Verdict::Failed { retry_at, reason } => {
            // The regular time is that before the probe, or else the retry's, unless an order has come. If a probe
            // was asked for meanwhile, it comes first. All right-hand sides read the row as it was.
            let failed = "UPDATE mailbox SET failures = failures + (regular_attempt IS NULL), last_failure = ?2, \
                          next_attempt = CASE WHEN next_attempt IS NULL THEN NULL WHEN is_probed THEN 0 \
                          ELSE coalesce(regular_attempt, min(?3, coalesce(latest_attempt, ?3))) END, \
                          regular_attempt = CASE WHEN is_probed \
                          THEN coalesce(regular_attempt, min(?3, coalesce(latest_attempt, ?3))) END, \
                          is_probed = 0, latest_attempt = NULL WHERE party = ?1";
            let params = params![blob(*recipient), reason, retry_at.0];
            transaction.prepare_cached(failed)?.execute(params)?;
        }
        Verdict::Released => give_back(transaction, *recipient)?,
    }
    Ok(true)
}

/// Moves the unnamed consumer's cursor to a sequence, removes what every consumer has, and resets the failures,
/// because the recipient has responded. A sequence that the mailbox never assigned has no effect.
pub(super) fn take_out(transaction: &Connection, recipient: PartyId, through: Sequence) -> Result<(), Error> {
    if through.0 > last_sequence(transaction, recipient)? {
        return Ok(());
    }
    let mailbox = "UPDATE mailbox SET acknowledged = max(acknowledged, ?2), failures = 0, last_failure = '', \
                    regular_attempt = NULL, is_probed = 0 WHERE party = ?1 RETURNING acknowledged";
    let acknowledged: i64 = transaction
        .prepare_cached(mailbox)?
        .query_row(params![blob(recipient), through.0], |row| row.get(0))?;
    remove_received(transaction, recipient, Some(acknowledged))?;
    let due = "UPDATE mailbox SET next_attempt = CASE WHEN EXISTS (SELECT 1 FROM delivery WHERE recipient = ?1 \
               AND sequence > ?2) THEN min(coalesce(next_attempt, 0), 0) END WHERE party = ?1";
    transaction.prepare_cached(due)?.execute(params![blob(recipient), acknowledged])?;
    Ok(())
}

/// Ends a lease. The mailbox stays due only if something is pending.
pub(super) fn give_back(transaction: &Connection, recipient: PartyId) -> Result<(), Error> {
    let sql = "UPDATE mailbox SET lease_owner = NULL, lease_until = 0, next_attempt = CASE WHEN EXISTS \
               (SELECT 1 FROM delivery WHERE recipient = ?1 AND sequence > mailbox.acknowledged) \
               THEN coalesce(next_attempt, 0) END WHERE party = ?1";
    transaction.prepare_cached(sql)?.execute([blob(recipient)])?;
    Ok(())
}

/// Drops deliveries whose retention is over, and returns how many.
pub(super) fn expire(
    transaction: &Connection,
    now: Timestamp,
    retention: Retention,
    limit: usize,
) -> Result<usize, Error> {
    let mut dropped = 0;
    for (is_order, kept) in [(false, retention.updates), (true, retention.orders)] {
        let old = "SELECT recipient, sequence, event FROM delivery WHERE is_order = ? AND occurred_at < ? \
                   ORDER BY occurred_at LIMIT ?";
        let cutoff = now.minus(kept).0;
        let found: Vec<(PartyId, i64, i64)> = transaction
            .prepare_cached(old)?
            .query_map(params![is_order, cutoff, at_most(limit - dropped)], |row| {
                Ok((convert::party_id(row, 0)?, row.get(1)?, row.get(2)?))
            })?
            .collect::<Result<_, _>>()?;
        for (recipient, sequence, event) in &found {
            let delivery = "DELETE FROM delivery WHERE recipient = ? AND sequence = ?";
            transaction.prepare_cached(delivery)?.execute(params![blob(*recipient), sequence])?;
            let own = "DELETE FROM event WHERE seq = ? AND fans_out = 0";
            transaction.prepare_cached(own)?.execute([event])?;
        }
        dropped += found.len();
    }
    let fanned_out = "DELETE FROM event WHERE seq IN (SELECT seq FROM event WHERE fans_out = 1 AND occurred_at < ? \
                      AND seq NOT IN (SELECT event FROM fan_out) LIMIT ?)";
    let cutoff = now.minus(retention.updates).0;
    transaction.prepare_cached(fanned_out)?.execute(params![cutoff, at_most(limit)])?;
    Ok(dropped)
}
