//! Drops deliveries, counts them, and keeps those about orders as dead letters.

use rusqlite::{Connection, Error, params};
use souk_domain::{PartyId, Timestamp};

use super::{convert::blob, placed, rows::at_most};
use crate::MAX_DEAD_LETTERS;

/// A delivery to drop, whose event is still there.
pub(super) struct Doomed {
    pub(super) recipient: PartyId,
    pub(super) sequence: i64,
    pub(super) is_order: bool,
}

/// Counts a delivery that is about to be deleted for the named consumers that miss it.
pub(super) fn count_missed(transaction: &Connection, doomed: &Doomed) -> Result<(), Error> {
    let (orders, updates) = (i64::from(doomed.is_order), i64::from(!doomed.is_order));
    let consumers = "UPDATE consumer SET missed_orders = missed_orders + ?2, missed_updates = missed_updates + ?3 \
                     WHERE party = ?1 AND acknowledged < ?4";
    let values = params![blob(doomed.recipient), orders, updates, doomed.sequence];
    transaction.prepare_cached(consumers)?.execute(values)?;
    Ok(())
}

/// Counts a delivery that is dropped for the unnamed consumer, which lacks it, and keeps its event as a dead letter if it
/// is about an order.
pub(super) fn bury(
    transaction: &Connection,
    doomed: &Doomed,
    reason: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let Doomed { recipient, sequence, is_order } = *doomed;
    let (orders, updates) = (i64::from(is_order), i64::from(!is_order));
    let mailbox = "UPDATE mailbox SET dropped_orders = dropped_orders + ?2, dropped_updates = dropped_updates + ?3, \
                   last_dropped = ?4, missed_orders = missed_orders + ?2, missed_updates = missed_updates + ?3 \
                   WHERE party = ?1";
    transaction.prepare_cached(mailbox)?.execute(params![blob(recipient), orders, updates, now.0])?;
    if is_order {
        // In full: the order may be pruned before the letter is.
        let body = placed::body(transaction, recipient, sequence)?;
        let letter = "INSERT INTO dead_letter (recipient, body, reason, died_at) VALUES (?, ?, ?, ?)";
        transaction.prepare_cached(letter)?.execute(params![blob(recipient), body, reason, now.0])?;
        let surplus = "DELETE FROM dead_letter WHERE id IN (SELECT id FROM dead_letter WHERE recipient = ? \
                       ORDER BY id DESC LIMIT -1 OFFSET ?)";
        let most = at_most(MAX_DEAD_LETTERS);
        transaction.prepare_cached(surplus)?.execute(params![blob(recipient), most])?;
    }
    Ok(())
}
