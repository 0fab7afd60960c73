//! Expands events for wishers into deliveries, in rotation between sellers.

use std::collections::{BTreeMap, VecDeque};

use souk_domain::{Event, PartyId};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    connection::params,
    convert::{self, get},
    deliveries::{self, Shared},
    error::Failure,
    pool::{Pool, Seat},
    rows::at_most,
    statements as sql,
};
use crate::{Expansion, mailbox::SELLERS_A_STEP};

/// One market expands at a time, so that an event can't overtake an earlier one of the same item.
const EXPAND_LOCK: &str = "SELECT pg_advisory_xact_lock(1936682347, 3)";
const MORE_EVENTS: &str = "SELECT 1 FROM event WHERE NOT is_done LIMIT 1";
/// Fills in the seller of events that markets of an older version have added.
const NAME_SELLERS: &str = "UPDATE event SET seller = item.seller FROM item WHERE NOT event.is_done \
     AND event.seller = '00000000-0000-0000-0000-000000000000' AND item.id = event.item";
/// The next sellers with events to expand. Each costs one look into the index, however many are queued.
const NEXT_SELLERS: &str = "WITH RECURSIVE queued (seller) AS ( \
     (SELECT event.seller FROM event WHERE NOT is_done AND event.seller > $1 ORDER BY event.seller LIMIT 1) \
     UNION ALL SELECT (SELECT event.seller FROM event WHERE NOT is_done AND event.seller > queued.seller \
     ORDER BY event.seller LIMIT 1) FROM queued WHERE queued.seller IS NOT NULL) \
     SELECT seller FROM queued WHERE seller IS NOT NULL LIMIT $2";
/// The oldest events of each seller.
const OLDEST_EVENTS: &str = "SELECT queued.* FROM unnest($1::UUID[]) AS next (seller) CROSS JOIN LATERAL \
     (SELECT event.seller, seq, item, withdraws, cursor, body, occurred_at FROM event WHERE NOT is_done \
     AND event.seller = next.seller ORDER BY event.seller, seq LIMIT $2) AS queued";
/// The next wishers of each event's item. A cursor is the last buyer served. If the seller has put a withdrawn item back
/// on the market, buyers who were not notified yet keep their wishes.
const WISHERS: &str = "SELECT asked.seq, found.buyer FROM unnest($1::BIGINT[], $2::BIGINT[], $3::UUID[], $5::BOOLEAN[]) \
     AS asked (seq, item, cursor, withdraws) CROSS JOIN LATERAL (SELECT buyer FROM wish WHERE wish.item = asked.item \
     AND buyer > asked.cursor AND (NOT asked.withdraws OR \
     (SELECT item.deleted_at IS NOT NULL FROM item WHERE item.id = asked.item)) ORDER BY buyer LIMIT $4) AS found";
const MOVE_ON: &str = "UPDATE event SET cursor = moved.cursor, is_done = moved.is_done \
     FROM unnest($1::BIGINT[], $2::UUID[], $3::BOOLEAN[]) AS moved (seq, cursor, is_done) WHERE event.seq = moved.seq";

/// How many events of each seller are looked at first. More follow if these have few wishers, so that a step
/// reads neither many events of many wishers nor single events of one.
const FIRST_EVENTS: usize = 4;

/// Prepared when a session opens, because pipelines can only send prepared statements.
pub(super) const PREPARED: &[&str] = &[
    sql::LOCK_MAILBOXES,
    sql::FILL_MAILBOXES,
    sql::REMOVE_OLDER_DELIVERIES,
    sql::ADD_DELIVERIES,
    deliveries::MERGEABLE,
];

/// The statements whose plans are checked for scans.
#[cfg(test)]
pub(super) const PLANNED: &[&str] =
    &[MORE_EVENTS, NAME_SELLERS, NEXT_SELLERS, OLDEST_EVENTS, WISHERS, MOVE_ON, deliveries::MERGEABLE];

/// Expands events into up to `limit` deliveries, beginning with those of the next seller after `last`. Returns
/// the seller whose events were expanded last.
///
/// The commit waits for the disk and the standby, because it assigns sequences: after a failover, a sequence
/// that a recipient has seen must not be assigned to another event.
pub(super) async fn expand(
    pool: &Pool,
    last: PartyId,
    limit: usize,
) -> Result<(Expansion, PartyId), Failure> {
    // Check without a lock first, because usually there is nothing to expand.
    if pool.query(MORE_EVENTS, Vec::new).await?.is_empty() {
        return Ok((Expansion::default(), last));
    }
    let mut seat = pool.take().await?;
    // The session may carry the warning of an earlier user.
    seat.forget_warnings();
    seat.batch("BEGIN; SET LOCAL synchronous_commit = on").await?;
    // The lock ends with the transaction, so a market that crashes in the middle does not stop the others.
    seat.query(EXPAND_LOCK, Vec::new()).await?;
    // All that follows is read after taking the lock: another market may have expanded events meanwhile.
    seat.query(NAME_SELLERS, Vec::new()).await?;
    let sellers = next_sellers(&mut seat, last).await?;
    let last = sellers.iter().take(limit).next_back().copied().unwrap_or(last);
    let step = Step::read(&mut seat, &sellers, limit).await?;
    let recipients = step.write(&mut seat).await?;
    let more = !seat.query(MORE_EVENTS, Vec::new()).await?.is_empty();
    seat.batch("COMMIT").await?;
    if seat.was_warned() {
        // As in a lane, the commit may be on the primary only. Dropping the seat closes the session; the
        // deliveries are found by the next poll.
        return Err(Failure::NoConnection(
            "PostgreSQL warned while it committed: the standby may not have it".into(),
        ));
    }
    seat.give_back();
    Ok((Expansion { recipients, more }, last))
}

/// Returns the sellers whose turn is next.
async fn next_sellers(seat: &mut Seat<'_>, last: PartyId) -> Result<Vec<PartyId>, Failure> {
    let mut sellers = Vec::new();
    for from in [last, PartyId(Uuid::nil())] {
        let rows = seat.query(NEXT_SELLERS, params![from.0, at_most(SELLERS_A_STEP - sellers.len())]).await?;
        let found = rows.iter().map(|row| convert::party_id(row, 0)).collect::<Result<Vec<_>, _>>()?;
        let is_new = |seller: &PartyId| from == last || *seller <= last;
        sellers.extend(found.into_iter().filter(is_new));
        if from.0.is_nil() {
            break;
        }
    }
    Ok(sellers)
}

/// An event to expand.
struct FanOut {
    shared: Shared,
    item: i64,
    withdraws: bool,
    cursor: Uuid,
}

/// A seller's oldest events, and how many more deliveries the step may make of them.
struct Queue {
    events: VecDeque<FanOut>,
    left: usize,
}

/// What a step has decided to do.
#[derive(Default)]
struct Step {
    /// The events, with those who get them now, and whether these are the last.
    expanded: Vec<(FanOut, Vec<PartyId>, bool)>,
}

impl Step {
    async fn read(seat: &mut Seat<'_>, sellers: &[PartyId], limit: usize) -> Result<Self, Failure> {
        // Shares differ by one at most. What a seller does not use is left for the next step.
        let shares: Vec<usize> = (0..sellers.len())
            .map(|place| limit / sellers.len() + usize::from(place < limit % sellers.len()))
            .collect();
        let most = shares.first().copied().unwrap_or(0);
        let asked: Vec<Uuid> = sellers.iter().map(|seller| seller.0).collect();
        let rows = seat.query(OLDEST_EVENTS, params![asked, at_most(most)]).await?;
        let mut found: BTreeMap<PartyId, Vec<FanOut>> = BTreeMap::new();
        for row in &rows {
            found.entry(convert::party_id(row, 0)?).or_default().push(fan_out(row)?);
        }
        let mut queues = Vec::with_capacity(sellers.len());
        for (seller, left) in sellers.iter().zip(shares) {
            let mut events = found.remove(seller).unwrap_or_default();
            // A lateral join has no defined order. Oldest first: the versions of an item then never go back
            // for a recipient.
            events.sort_by_key(|event| event.shared.number);
            queues.push(Queue { events: events.into(), left });
        }
        let (mut step, mut chunk) = (Self::default(), FIRST_EVENTS);
        while step.take_some(seat, &mut queues, chunk, most).await? {
            chunk *= 4;
        }
        Ok(step)
    }

    /// Takes up to `chunk` more events of each seller. Returns whether there was any.
    async fn take_some(
        &mut self,
        seat: &mut Seat<'_>,
        queues: &mut [Queue],
        chunk: usize,
        most: usize,
    ) -> Result<bool, Failure> {
        let open = queues.iter().filter(|queue| queue.left > 0);
        let next: Vec<&FanOut> = open.flat_map(|queue| queue.events.iter().take(chunk)).collect();
        if next.is_empty() {
            return Ok(false);
        }
        let numbers: Vec<i64> = next.iter().map(|event| event.shared.number).collect();
        let items: Vec<i64> = next.iter().map(|event| event.item).collect();
        let cursors: Vec<Uuid> = next.iter().map(|event| event.cursor).collect();
        let withdraws: Vec<bool> = next.iter().map(|event| event.withdraws).collect();
        let rows = seat.query(WISHERS, params![numbers, items, cursors, at_most(most), withdraws]).await?;
        let mut wishers: BTreeMap<i64, Vec<PartyId>> = BTreeMap::new();
        for row in &rows {
            wishers.entry(get(row, 0)?).or_default().push(convert::party_id(row, 1)?);
        }
        for queue in queues {
            for _ in 0..chunk {
                if queue.left == 0 {
                    break;
                }
                let Some(event) = queue.events.pop_front() else { break };
                let mut found = wishers.remove(&event.shared.number).unwrap_or_default();
                found.sort_unstable();
                found.truncate(queue.left);
                // With a full share there may be more buyers.
                let is_done = found.len() < queue.left;
                // An event that nobody wishes for any more costs one as well, so that steps are bounded.
                queue.left -= found.len().max(1);
                self.expanded.push((event, found, is_done));
            }
        }
        Ok(true)
    }

    /// Adds the deliveries, and records how far the events are. Returns the recipients.
    async fn write(&self, seat: &mut Seat<'_>) -> Result<Vec<PartyId>, Failure> {
        if self.expanded.is_empty() {
            return Ok(Vec::new());
        }
        let pairs =
            || self.expanded.iter().flat_map(|(event, found, _)| found.iter().map(move |to| (*to, event)));
        // Before the mailboxes, which is the lock order of lanes.
        let withdrawn = pairs().filter(|(_, event)| event.withdraws).map(|(to, event)| (to.0, event.item));
        let (buyers, items): (Vec<Uuid>, Vec<i64>) = withdrawn.unzip();
        if !buyers.is_empty() {
            seat.query(sql::REMOVE_WISHES, params![buyers, items]).await?;
        }
        let puts: Vec<_> = pairs().map(|(to, event)| (to, &event.shared)).collect();
        let now = self.expanded.iter().map(|(event, ..)| event.shared.since).min();
        if let Some(now) = now.filter(|_| !puts.is_empty()) {
            deliveries::deliver(seat, &puts, now).await?;
        }
        let numbers: Vec<i64> = self.expanded.iter().map(|(event, ..)| event.shared.number).collect();
        let cursors =
            self.expanded.iter().map(|(event, found, _)| found.last().map_or(event.cursor, |to| to.0));
        let cursors: Vec<Uuid> = cursors.collect();
        let done: Vec<bool> = self.expanded.iter().map(|(.., is_done)| *is_done).collect();
        seat.query(MOVE_ON, params![numbers, cursors, done]).await?;
        Ok(puts.into_iter().map(|(to, _)| to).collect())
    }
}

fn fan_out(row: &Row) -> Result<FanOut, Failure> {
    let event: Event = convert::json(row, 5)?;
    Ok(FanOut {
        shared: Shared { number: get(row, 1)?, event, since: get(row, 6)? },
        item: get(row, 2)?,
        withdraws: get(row, 3)?,
        cursor: get::<Option<Uuid>>(row, 4)?.unwrap_or_default(),
    })
}
