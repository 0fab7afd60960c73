//! Deliveries: what is pending in a mailbox, and how updates of one item are merged there.
//!
//! A mailbox's row lock guards its deliveries: a transaction that adds, merges or hands out any holds it.

use std::collections::BTreeMap;

use souk_domain::{Event, PartyId, Sequence, Timestamp, Topic};
use uuid::Uuid;

use super::{
    connection::{PATIENCE, Pipeline, params},
    convert::{self, get, to_json},
    error::Failure,
    pool::{Pool, Seat},
    rows::at_most,
    statements as sql,
};
use crate::{Delivery, ORDER_PATIENCE};

/// The first pending deliveries of each mailbox after a sequence, for any of its consumers.
pub(super) const FIRST_DELIVERIES: &str = "SELECT waiting.* FROM unnest($1::UUID[], $2::BIGINT[]) AS asked (party, after) \
     CROSS JOIN LATERAL \
     (SELECT delivery.recipient, delivery.sequence, coalesce(delivery.body, event.body) FROM delivery \
     LEFT JOIN event ON event.seq = delivery.event \
     WHERE delivery.recipient = asked.party AND delivery.sequence > greatest(asked.after, \
     (SELECT mailbox.released FROM mailbox WHERE mailbox.party = asked.party)) \
     ORDER BY delivery.sequence LIMIT $3) AS waiting";
/// Records that somebody may have received what was handed out.
pub(super) const HAND_OUT: &str = "UPDATE mailbox SET handed_out = greatest(handed_out, handed.last) \
     FROM unnest($1::UUID[], $2::BIGINT[]) AS handed (party, last) WHERE mailbox.party = handed.party";
/// Finds the deliveries that new events on their topics are merged with: those that nobody can have received.
/// There is at most one of a topic, because it was merged with those before it.
pub(super) const MERGEABLE: &str = concat!(
    "SELECT older.* FROM unnest($1::UUID[], $2::BIGINT[]) AS new (recipient, coalesces) CROSS JOIN LATERAL \
     (SELECT delivery.recipient, delivery.coalesces, coalesce(delivery.body, event.body) FROM delivery \
     LEFT JOIN event ON event.seq = delivery.event \
     WHERE delivery.recipient = new.recipient AND delivery.coalesces = new.coalesces \
     AND delivery.sequence > ",
    sql::received_through!("new.recipient"),
    " ORDER BY delivery.sequence DESC LIMIT 1) AS older"
);

/// A delivery whose sequence is not known yet.
pub(super) struct NewDelivery<'a> {
    pub(super) recipient: PartyId,
    pub(super) event: &'a Event,
    pub(super) content: Content,
    /// The distance of its sequence from the last one that the mailbox assigns in this batch. The server
    /// computes the sequence from it, so that no round trip is needed to read the mailbox first.
    pub(super) behind: i64,
    /// The steady time from which its age counts: that of a shared event, or that of its redelivery.
    pub(super) since: i64,
}

/// Where the body of a delivery's event is.
pub(super) enum Content {
    /// In the event under this number, which others share.
    Shared(i64),
    /// In the delivery itself, as JSON.
    Own(String),
}

/// Raises the last sequence of each locked mailbox by its count, removes the deliveries that the new ones
/// replace or are merged with, and adds the new ones.
pub(super) fn put_deliveries(
    pipeline: &mut Pipeline<'_>,
    counts: &[(PartyId, i64)],
    deliveries: Vec<NewDelivery<'_>>,
    now: i64,
) {
    let order_by = Timestamp(now).plus(ORDER_PATIENCE).0;
    let (recipients, counts): (Vec<PartyId>, Vec<i64>) = counts.iter().copied().unzip();
    let mut added: BTreeMap<PartyId, (i64, Option<i64>)> = BTreeMap::new();
    for new in &deliveries {
        let (count, order_behind) = added.entry(new.recipient).or_default();
        *count += 1;
        if new.event.kind.is_order() {
            *order_behind = Some(order_behind.map_or(new.behind, |behind| behind.min(new.behind)));
        }
    }
    let of = |recipient| added.get(recipient).copied().unwrap_or_default();
    let (added, orders): (Vec<i64>, Vec<Option<i64>>) = recipients.iter().map(of).unzip();
    let recipients: Vec<Uuid> = recipients.iter().map(|recipient| recipient.0).collect();
    pipeline.add(sql::FILL_MAILBOXES, params![recipients, counts, now, added, orders, order_by]);
    let topic = |new: &NewDelivery<'_>| new.event.kind.coalesces_by().map(Topic::number);
    let coalescing = deliveries.iter().filter_map(|new| Some((new.recipient.0, topic(new)?)));
    let (recipients, topics): (Vec<Uuid>, Vec<i64>) = coalescing.unzip();
    if !recipients.is_empty() {
        pipeline.add(sql::REMOVE_OLDER_DELIVERIES, params![recipients, topics]);
    }
    let recipients: Vec<Uuid> = deliveries.iter().map(|new| new.recipient.0).collect();
    let behind: Vec<i64> = deliveries.iter().map(|new| new.behind).collect();
    let topics: Vec<Option<i64>> = deliveries.iter().map(topic).collect();
    let of_orders: Vec<bool> = deliveries.iter().map(|new| new.event.kind.is_order()).collect();
    let times: Vec<i64> = deliveries.iter().map(|new| new.since).collect();
    let contents = deliveries.into_iter().map(|new| match new.content {
        Content::Shared(number) => (Some(number), None),
        Content::Own(body) => (None, Some(body)),
    });
    let (events, bodies): (Vec<Option<i64>>, Vec<Option<String>>) = contents.unzip();
    pipeline.add(sql::ADD_DELIVERIES, params![recipients, behind, events, bodies, topics, of_orders, times]);
}

/// An event for wishers, under its number.
pub(super) struct Shared {
    pub(super) number: i64,
    pub(super) event: Event,
    /// The steady time of the event.
    pub(super) since: i64,
}

/// Puts shared events into mailboxes, in the given order, and merges each with what nobody can have received
/// of its topic.
pub(super) async fn deliver(seat: &Seat<'_>, puts: &[(PartyId, &Shared)], now: i64) -> Result<(), Failure> {
    let mut counts: BTreeMap<PartyId, i64> = BTreeMap::new();
    for (recipient, _) in puts {
        *counts.entry(*recipient).or_default() += 1;
    }
    let mut older = mergeable(seat, &counts, puts).await?;
    let (mut put, mut last) = (BTreeMap::new(), BTreeMap::new());
    for (recipient, shared) in puts {
        let place: &mut i64 = put.entry(*recipient).or_default();
        *place += 1;
        let topic = shared.event.kind.coalesces_by().map(Topic::number);
        let merged = match older.remove(&(*recipient, topic)) {
            Some(older) => shared.event.clone().merge(&older),
            None => shared.event.clone(),
        };
        let content = if merged == shared.event {
            Content::Shared(shared.number)
        } else {
            Content::Own(to_json(&merged)?)
        };
        let behind = counts[recipient] - *place;
        let (event, since) = (&shared.event, shared.since);
        let new = NewDelivery { recipient: *recipient, event, content, behind, since };
        // Of several events on one topic only the last is put, merged with those before it. The sequences of
        // the others are skipped.
        older.insert((*recipient, topic), merged);
        last.insert((*recipient, topic), new);
    }
    let counts: Vec<_> = counts.into_iter().collect();
    let mut pipeline = seat.pipeline();
    put_deliveries(&mut pipeline, &counts, last.into_values().collect(), now);
    pipeline.run_all(PATIENCE).await?;
    Ok(())
}

type ByTopic = BTreeMap<(PartyId, Option<i64>), Event>;

/// Locks the mailboxes, and returns the events that the new ones are merged with.
async fn mergeable(
    seat: &Seat<'_>,
    counts: &BTreeMap<PartyId, i64>,
    puts: &[(PartyId, &Shared)],
) -> Result<ByTopic, Failure> {
    let locked: Vec<Uuid> = counts.keys().map(|recipient| recipient.0).collect();
    let topic = |shared: &Shared| shared.event.kind.coalesces_by().map(Topic::number);
    let named = puts.iter().filter_map(|(recipient, shared)| Some((recipient.0, topic(shared)?)));
    let (recipients, topics): (Vec<Uuid>, Vec<i64>) = named.unzip();
    let mut pipeline = seat.pipeline();
    pipeline.add(sql::LOCK_MAILBOXES, params![locked]);
    let place = pipeline.add(MERGEABLE, params![recipients, topics]);
    let answers = pipeline.run_all(PATIENCE).await?;
    let event = |row| Ok(((convert::party_id(row, 0)?, Some(get(row, 1)?)), convert::json(row, 2)?));
    answers[place].iter().map(event).collect()
}

/// Returns the first pending deliveries of each mailbox after a sequence, and records which of those that
/// could be merged may have been received from now on.
pub(super) async fn hand_out(
    pool: &Pool,
    asked: &[(PartyId, Sequence)],
    limit: usize,
) -> Result<BTreeMap<PartyId, Vec<Delivery>>, Failure> {
    let asking = |asked: &[(PartyId, Sequence)]| {
        let (parties, after): (Vec<Uuid>, Vec<i64>) =
            asked.iter().map(|(party, after)| (party.0, after.0)).unzip();
        params![parties, after, at_most(limit)]
    };
    // Without a lock first, because usually there is nothing to record: orders are never merged.
    let mut handed = grouped(&pool.query(FIRST_DELIVERIES, || asking(asked)).await?)?;
    let is_mergeable = |(party, _): &&(PartyId, Sequence)| {
        handed.get(party).and_then(|first| Delivery::last_mergeable(first))
    };
    let mergeable: Vec<_> = asked.iter().filter(|asked| is_mergeable(asked).is_some()).copied().collect();
    if mergeable.is_empty() {
        return Ok(handed);
    }
    let mut seat = pool.take().await?;
    seat.batch("BEGIN").await?;
    let locked: Vec<Uuid> = mergeable.iter().map(|(party, _)| party.0).collect();
    seat.query(sql::LOCK_MAILBOXES, params![locked]).await?;
    // Read again under the lock: a merge in between may have replaced some of them.
    let again = grouped(&seat.query(FIRST_DELIVERIES, asking(&mergeable)).await?)?;
    let last = again.iter().filter_map(|(party, first)| Some((party.0, Delivery::last_mergeable(first)?.0)));
    let (parties, last): (Vec<Uuid>, Vec<i64>) = last.unzip();
    seat.query(HAND_OUT, params![parties, last]).await?;
    seat.batch("COMMIT").await?;
    seat.give_back();
    for (party, _) in &mergeable {
        handed.remove(party);
    }
    handed.extend(again);
    Ok(handed)
}

fn grouped(rows: &[tokio_postgres::Row]) -> Result<BTreeMap<PartyId, Vec<Delivery>>, Failure> {
    let mut found: BTreeMap<PartyId, Vec<Delivery>> = BTreeMap::new();
    for row in rows {
        found.entry(convert::party_id(row, 0)?).or_default().push(convert::delivery(row, 1)?);
    }
    // A lateral join has no defined order.
    for deliveries in found.values_mut() {
        deliveries.sort_by_key(|delivery| delivery.sequence);
    }
    Ok(found)
}
