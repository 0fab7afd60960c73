//! Expands events for wishers into deliveries, in rotation between sellers.

use rusqlite::{Connection, Error, OptionalExtension as _, Row, params};
use souk_domain::{Event, PartyId, Timestamp};
use uuid::Uuid;

use super::{
    convert::{self, blob, unreadable},
    deliveries::{Added, opened, put_delivery, put_into_mailbox},
    rows::at_most,
};
use crate::{Expansion, mailbox::SELLERS_A_STEP};

/// Expands events into up to `limit` deliveries, beginning with those of the next seller after `last`. Returns
/// the seller whose events were expanded last.
pub(super) fn expand(
    transaction: &Connection,
    last: PartyId,
    limit: usize,
) -> Result<(Expansion, PartyId), Error> {
    let sellers = next_sellers(transaction, last)?;
    let (count, mut left, mut last) = (sellers.len(), limit, last);
    let mut recipients = Vec::new();
    for (served, seller) in sellers.into_iter().enumerate() {
        if left == 0 {
            break;
        }
        // What a seller does not use goes to those after it.
        let share = left.div_ceil(count - served);
        left -= expand_some(transaction, seller, share, &mut recipients)?;
        last = seller;
    }
    let more = transaction.prepare_cached("SELECT 1 FROM fan_out")?.exists([])?;
    Ok((Expansion { recipients, more }, last))
}

/// Returns the sellers whose turn is next. Each costs one look into the index, however many events are queued.
fn next_sellers(connection: &Connection, last: PartyId) -> Result<Vec<PartyId>, Error> {
    let mut next =
        connection.prepare_cached("SELECT seller FROM fan_out WHERE seller > ? ORDER BY seller LIMIT 1")?;
    let mut after =
        |seller: PartyId| next.query_row([blob(seller)], |row| convert::party_id(row, 0)).optional();
    let mut sellers = Vec::new();
    let (mut from, mut is_first_round) = (last, true);
    while sellers.len() < SELLERS_A_STEP {
        match after(from)? {
            Some(seller) if is_first_round || seller <= last => {
                sellers.push(seller);
                from = seller;
            }
            None if is_first_round => (from, is_first_round) = (PartyId(Uuid::nil()), false),
            _ => break,
        }
    }
    Ok(sellers)
}

/// An event for wishers that is being expanded.
struct FanOut {
    seq: i64,
    item: i64,
    withdraws: bool,
    cursor: Vec<u8>,
    event: Event,
    /// The steady time of the event.
    since: Timestamp,
}

fn fan_out(row: &Row<'_>) -> Result<FanOut, Error> {
    let body = row.get_ref(4)?.as_str()?;
    Ok(FanOut {
        seq: row.get(0)?,
        item: row.get(1)?,
        withdraws: row.get(2)?,
        cursor: row.get(3)?,
        event: serde_json::from_str(body).map_err(|error| unreadable(4, error))?,
        since: Timestamp(row.get(5)?),
    })
}

/// Expands a seller's events into up to `share` deliveries. Returns how much of its share was used; an event
/// that nobody wishes for any more costs one as well.
fn expand_some(
    transaction: &Connection,
    seller: PartyId,
    share: usize,
    recipients: &mut Vec<PartyId>,
) -> Result<usize, Error> {
    // Oldest first, and one event at a time: the versions of an item then never go back for a recipient.
    let mut oldest = transaction.prepare_cached(
        "SELECT fan_out.event, item, withdraws, cursor, body, occurred_at FROM fan_out \
         JOIN event ON event.seq = fan_out.event WHERE seller = ? ORDER BY fan_out.event LIMIT 1",
    )?;
    // The cursor is the last buyer served, so that the next step continues after it. If the seller has put a withdrawn
    // item back on the market, buyers who were not notified yet keep their wishes.
    let mut wishers = transaction.prepare_cached(
        "SELECT buyer FROM wish WHERE item = ?1 AND buyer > ?2 \
         AND NOT (?4 AND EXISTS (SELECT 1 FROM item WHERE id = ?1 AND deleted_at IS NULL)) ORDER BY buyer LIMIT ?3",
    )?;
    let mut used = 0;
    while used < share {
        let Some(fan_out) = oldest.query_row([blob(seller)], fan_out).optional()? else { break };
        let room = share - used;
        let found: Vec<PartyId> = wishers
            .query_map(params![fan_out.item, fan_out.cursor, at_most(room), fan_out.withdraws], |row| {
                convert::party_id(row, 0)
            })?
            .collect::<Result<_, _>>()?;
        for recipient in found.iter().copied() {
            deliver(transaction, recipient, &fan_out)?;
        }
        match found.last() {
            // A full step: there may be more buyers. The cursor is committed with the deliveries, so a crash
            // neither repeats nor skips one.
            Some(last) if found.len() >= room => {
                let on = "UPDATE fan_out SET cursor = ? WHERE event = ?";
                transaction.prepare_cached(on)?.execute(params![blob(*last), fan_out.seq])?;
            }
            _ => {
                transaction.prepare_cached("DELETE FROM fan_out WHERE event = ?")?.execute([fan_out.seq])?;
            }
        }
        used += found.len().max(1);
        recipients.extend(found);
    }
    Ok(used)
}

fn deliver(transaction: &Connection, recipient: PartyId, fan_out: &FanOut) -> Result<(), Error> {
    if fan_out.withdraws {
        // In the transaction of the delivery, so that a wish never ends without its buyer being notified.
        let wish = "DELETE FROM wish WHERE buyer = ? AND item = ?";
        transaction.prepare_cached(wish)?.execute(params![blob(recipient), fan_out.item])?;
    }
    let sequence = opened(transaction, recipient)?.sequence + 1;
    let (shared, since) = (Some(fan_out.seq), fan_out.since);
    let count = put_delivery(transaction, (recipient, sequence), shared, &fan_out.event, since)?;
    let added = Added { sequence, last_order: 0, count };
    put_into_mailbox(transaction, recipient, &added, since)
}
