//! Removes what all consumers of a mailbox have received.

use rusqlite::{Connection, Error, params};
use souk_domain::{PartyId, Sequence};

use super::convert::blob;

/// Removes what every consumer has. `unnamed` is the cursor of the unnamed consumer, if it counts.
pub(super) fn remove_received(
    transaction: &Connection,
    recipient: PartyId,
    unnamed: Option<i64>,
) -> Result<(), Error> {
    let least = "SELECT min(acknowledged) FROM consumer WHERE party = ?";
    let named: Option<i64> =
        transaction.prepare_cached(least)?.query_row([blob(recipient)], |row| row.get(0))?;
    match unnamed.into_iter().chain(named).min() {
        Some(through) => remove(transaction, recipient, Sequence(through)),
        None => Ok(()),
    }
}

/// Removes everything up to a sequence from a mailbox.
fn remove(transaction: &Connection, recipient: PartyId, through: Sequence) -> Result<(), Error> {
    // An event for one recipient is deleted with its delivery; a shared one when its retention is over.
    // Events before deliveries, because they are found through them.
    let events = "DELETE FROM event WHERE fans_out = 0 AND seq IN \
                  (SELECT event FROM delivery WHERE recipient = ? AND sequence <= ?)";
    transaction.prepare_cached(events)?.execute(params![blob(recipient), through.0])?;
    let deliveries = "DELETE FROM delivery WHERE recipient = ? AND sequence <= ?";
    transaction.prepare_cached(deliveries)?.execute(params![blob(recipient), through.0])?;
    Ok(())
}
