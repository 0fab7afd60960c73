//! Deliveries: what is pending in a mailbox, and how updates of one item are merged there.

use rusqlite::{Connection, Error, OptionalExtension as _, Row, params};
use souk_domain::{Event, PartyId, Sequence, Timestamp, Topic};

use super::{
    convert::{blob, to_json, unreadable},
    placed::{self, EVENT, EVENTS},
    rows::at_most,
};
use crate::{Delivery, ORDER_PATIENCE};

/// Saves an event and returns its number. One that fans out is shared by the deliveries to its recipients.
///
/// `since` is the steady time from which its age counts, in the column `occurred_at`; the body has the wall time.
pub(super) fn put_event(
    connection: &Connection,
    event: &Event,
    since: Timestamp,
    fans_out: bool,
) -> Result<i64, Error> {
    let mut put = connection
        .prepare_cached("INSERT INTO event (id, occurred_at, body, fans_out) VALUES (?, ?, ?, ?)")?;
    let id = event.id.0.into_bytes();
    put.insert(params![id, since.0, to_json(event)?, fans_out])
}

/// The state of a mailbox that a new delivery depends on.
pub(super) struct Opened {
    /// The last sequence that it has assigned.
    pub(super) sequence: i64,
    /// Whether it has a callback, to which deliveries are sent.
    pub(super) has_callback: bool,
}

/// Looks up a mailbox.
pub(super) fn opened(connection: &Connection, recipient: PartyId) -> Result<Opened, Error> {
    let sql = "SELECT last_sequence, callback_port IS NOT NULL FROM mailbox WHERE party = ?";
    let read = |row: &Row<'_>| Ok(Opened { sequence: row.get(0)?, has_callback: row.get(1)? });
    connection.prepare_cached(sql)?.query_row([blob(recipient)], read)
}

/// Returns the sequence up to which somebody may have received the mailbox's deliveries. They stay as they
/// are; later ones may still be merged.
fn received_through(connection: &Connection, recipient: PartyId) -> Result<i64, Error> {
    let sql = "SELECT max(acknowledged, handed_out) FROM mailbox WHERE party = ?";
    connection.prepare_cached(sql)?.query_row([blob(recipient)], |row| row.get(0))
}

/// Adds a delivery of an event, which is either shared, under the given number, or this delivery's own. Its age counts
/// from the steady time `since`, which is that of a shared event.
///
/// An older one on the same topic that nobody can have received is merged into it. The result has a new
/// sequence, because a recipient that has acknowledged the older sequence must get it too. Returns by how many
/// the mailbox has more deliveries.
pub(super) fn put_delivery(
    connection: &Connection,
    (recipient, sequence): (PartyId, i64),
    shared: Option<i64>,
    event: &Event,
    since: Timestamp,
) -> Result<i64, Error> {
    let coalesces = event.kind.coalesces_by().map(Topic::number);
    let (merged, added) = match coalesces {
        Some(topic) => merge(connection, recipient, topic, event)?,
        None => (None, 1),
    };
    let number = match (&merged, shared) {
        (None, Some(shared)) => shared,
        // A merged event is this recipient's own: others may have received what it is merged from.
        (merged, _) => put_event(connection, merged.as_ref().unwrap_or(event), since, false)?,
    };
    let mut put = connection.prepare_cached(
        "INSERT INTO delivery (recipient, sequence, event, coalesces, is_order, occurred_at) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )?;
    let (is_order, since) = (event.kind.is_order(), since.0);
    put.execute(params![blob(recipient), sequence, number, coalesces, is_order, since])?;
    Ok(added)
}

/// Removes the delivery that an event on its topic is merged with, and returns the merged event, which is
/// `None` if it is the event itself, and by how many the mailbox will have more deliveries.
fn merge(
    connection: &Connection,
    recipient: PartyId,
    topic: i64,
    event: &Event,
) -> Result<(Option<Event>, i64), Error> {
    let after = received_through(connection, recipient)?;
    // At most one, because each was merged with those before it when it was put here.
    let older = "SELECT sequence, event, body FROM delivery JOIN event ON event.seq = delivery.event \
                 WHERE recipient = ? AND coalesces = ? AND sequence > ?";
    let older: Option<(i64, i64, Event)> = connection
        .prepare_cached(older)?
        .query_row(params![blob(recipient), topic, after], |row| {
            let older = serde_json::from_str(row.get_ref(2)?.as_str()?);
            Ok((row.get(0)?, row.get(1)?, older.map_err(|error| unreadable(2, error))?))
        })
        .optional()?;
    let Some((sequence, number, older)) = older else { return Ok((None, 1)) };
    let own = "DELETE FROM event WHERE seq = ? AND fans_out = 0";
    connection.prepare_cached(own)?.execute([number])?;
    let delivery = "DELETE FROM delivery WHERE recipient = ? AND sequence = ?";
    connection.prepare_cached(delivery)?.execute(params![blob(recipient), sequence])?;
    let merged = event.clone().merge(&older);
    Ok(((merged != *event).then_some(merged), 0))
}

/// What a batch has added to a mailbox.
pub(super) struct Added {
    /// The last sequence that was assigned.
    pub(super) sequence: i64,
    /// The sequence of the last order event; 0 if there is none.
    pub(super) last_order: i64,
    /// By how many the mailbox has more deliveries.
    pub(super) count: i64,
}

/// Records that something new is pending. The mailbox becomes due now, unless it is in back-off; an order
/// shortens that.
pub(super) fn put_into_mailbox(
    connection: &Connection,
    recipient: PartyId,
    added: &Added,
    now: Timestamp,
) -> Result<(), Error> {
    let mut put = connection.prepare_cached(
        "UPDATE mailbox SET last_sequence = ?2, next_attempt = CASE WHEN next_attempt IS NULL THEN ?3 \
         WHEN failures = 0 THEN min(next_attempt, ?3) ELSE min(next_attempt, coalesce(?6, next_attempt)) END, \
         latest_attempt = coalesce(?6, latest_attempt), last_order = max(last_order, ?4), quiet = quiet AND ?4 = 0, \
         pending = pending + ?5 WHERE party = ?1",
    )?;
    let latest = (added.last_order > 0).then(|| now.plus(ORDER_PATIENCE).0);
    put.execute(params![blob(recipient), added.sequence, now.0, added.last_order, added.count, latest])?;
    Ok(())
}

/// Returns the pending deliveries after a sequence, in order.
pub(super) fn waiting(
    connection: &Connection,
    recipient: PartyId,
    after: Sequence,
    limit: usize,
) -> Result<Vec<Delivery>, Error> {
    let sql = format!(
        "SELECT sequence, {EVENT} FROM delivery {EVENTS} \
         WHERE recipient = ?1 AND sequence > max(?2, (SELECT released FROM mailbox WHERE party = ?1)) \
         ORDER BY sequence LIMIT ?3"
    );
    let read = |row: &Row<'_>| {
        Ok(Delivery { sequence: Sequence(row.get(0)?), event: placed::event(connection, row, 1)? })
    };
    let mut waiting = connection.prepare_cached(&sql)?;
    waiting.query_map(params![blob(recipient), after.0, at_most(limit)], read)?.collect()
}

/// Does the same, for deliveries that are about to be sent: records that they may have been received.
pub(super) fn hand_out(
    transaction: &Connection,
    recipient: PartyId,
    after: Sequence,
    limit: usize,
) -> Result<Vec<Delivery>, Error> {
    let handed = waiting(transaction, recipient, after, limit)?;
    // Orders are never merged, so most batches need no record.
    if let Some(last) = Delivery::last_mergeable(&handed) {
        let sql = "UPDATE mailbox SET handed_out = max(handed_out, ?2) WHERE party = ?1";
        transaction.prepare_cached(sql)?.execute(params![blob(recipient), last.0])?;
    }
    Ok(handed)
}
