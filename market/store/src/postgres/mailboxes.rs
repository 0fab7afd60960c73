//! Mailboxes: claims, leases and pending deliveries.
//!
//! These sessions commit without waiting for the disk or a standby: if a commit is lost, an event is
//! delivered again. Expansion is the exception, see `expand`. A claim may be lost as well, so `next_epoch`
//! takes the clock into account: a forgotten epoch must not be assigned twice, or it would not fence.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use souk_domain::{PartyId, Sequence, Timestamp};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    connection::params,
    convert::{self, first, get, unreadable},
    deliveries,
    error::Failure,
    expand,
    hints::HintPublisher,
    pool::{Pool, with_patience},
    rows::{all, at_most},
    settle,
};
use crate::{
    ByReliability, Claim, Delivery, Dropped, DueQuery, Expansion, LeaseEpoch, LeaseOwner, MAX_COUNTED,
    MailboxState, Mailboxes, Reliability, Retention, Settlement, StoreError,
    mailbox::{OVERDUE_AFTER, REMOVAL_STEP},
};

pub(super) struct PostgresMailboxes {
    pool: Arc<Pool>,
    hints: HintPublisher,
    /// The seller whose events were expanded last. Not shared: each market has its own rotation.
    expanded: Mutex<PartyId>,
}

/// Claims due mailboxes: for each kind of callback as many as are asked for, those with orders and those that were due
/// before `$7` first (the time 0 stands for at once, whenever that was). SKIP LOCKED, so that a claim never waits for a
/// mailbox that another market works on.
const CLAIM_DUE: &str = "WITH found AS (SELECT wanted.slots, wanted.quiet, free.* \
     FROM unnest($2::INTEGER[], $3::BOOLEAN[], $4::BIGINT[]) AS wanted (reliability, quiet, slots) CROSS JOIN LATERAL \
     (SELECT mailbox.party, mailbox.reliability, mailbox.next_attempt FROM mailbox \
     WHERE mailbox.reliability = wanted.reliability AND mailbox.quiet = wanted.quiet \
     AND mailbox.next_attempt IS NOT NULL AND mailbox.callback_port IS NOT NULL AND mailbox.next_attempt <= $1 \
     AND mailbox.lease_until <= $1 ORDER BY mailbox.next_attempt LIMIT wanted.slots \
     FOR NO KEY UPDATE SKIP LOCKED) AS free), \
     due AS (SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY reliability \
     ORDER BY quiet AND (next_attempt = 0 OR next_attempt >= $7), next_attempt) AS place FROM found) AS ranked \
     WHERE place <= slots) \
     UPDATE mailbox SET lease_owner = $5, lease_epoch = next_epoch(mailbox.lease_epoch), lease_until = $6, \
     is_probed = false, latest_attempt = NULL FROM due \
     WHERE mailbox.party = due.party \
     RETURNING mailbox.party, role, callback_host, callback_port, lease_epoch, failures, last_sequence, \
     mailbox.reliability, acknowledged, refusals, refused_since, regular_attempt IS NOT NULL, due.place";
const NEXT_DUE: &str = "SELECT min(greatest(next_attempt, lease_until)) FROM mailbox \
     WHERE next_attempt IS NOT NULL AND callback_port IS NOT NULL AND reliability = ANY($1) AND next_attempt <= $2";
const DUE: &str = "SELECT reliability, count(*) FROM mailbox WHERE next_attempt IS NOT NULL \
     AND callback_port IS NOT NULL AND next_attempt <= $1 AND lease_until <= $1 GROUP BY reliability";
const TAKE_OVER: &str = "UPDATE mailbox SET lease_owner = $2, lease_epoch = next_epoch(mailbox.lease_epoch), lease_until = $3, \
     stream_until = $3 WHERE party = $1 RETURNING party, role, callback_host, callback_port, lease_epoch, failures, \
     last_sequence, reliability, acknowledged, refusals, refused_since, regular_attempt IS NOT NULL";
const RENEW: &str = "UPDATE mailbox SET lease_until = $3, stream_until = $3 WHERE party = $1 AND lease_epoch = $2 RETURNING 1";
const PENDING: &str = "SELECT delivery.sequence, coalesce(delivery.body, event.body) FROM delivery \
     LEFT JOIN event ON event.seq = delivery.event WHERE delivery.recipient = $1 AND delivery.sequence > greatest($2, \
     (SELECT mailbox.released FROM mailbox WHERE mailbox.party = $1)) \
     ORDER BY delivery.sequence LIMIT $3";
/// The columns that [`state`] reads from `mailbox`. Deliveries are counted only while acknowledged ones are being
/// removed or held back by a named consumer, and then up to [`MAX_COUNTED`].
macro_rules! state_columns {
    () => {
        "CASE WHEN removed >= acknowledged THEN pending ELSE (SELECT count(*) FROM (SELECT 1 FROM delivery \
         WHERE delivery.recipient = mailbox.party AND delivery.sequence > mailbox.acknowledged \
         LIMIT 10000) AS waiting) END, \
         (SELECT occurred_at FROM delivery WHERE delivery.recipient = mailbox.party \
         AND delivery.sequence > mailbox.acknowledged ORDER BY delivery.sequence LIMIT 1), \
         acknowledged, last_sequence, callback_host, callback_port, failures, next_attempt, last_failure, \
         dropped_orders, dropped_updates, last_dropped, \
         (SELECT count(*) FROM dead_letter WHERE dead_letter.recipient = mailbox.party)"
    };
}
pub(super) use state_columns;
const _: () = assert!(MAX_COUNTED == 10_000, "as in `state_columns`");
/// The number of these columns.
pub(super) const STATE_COLUMNS: usize = 13;
const STATE: &str = concat!("SELECT ", state_columns!(), " FROM mailbox WHERE mailbox.party = $1");
const PROBE: &str = "UPDATE mailbox SET is_probed = is_probed OR lease_until > $2, \
     regular_attempt = CASE WHEN lease_until <= $2 AND failures > 0 AND next_attempt > $2 \
     THEN coalesce(regular_attempt, next_attempt) ELSE regular_attempt END, \
     next_attempt = $2, reliability = least(reliability, 1) \
     WHERE party = $1 AND next_attempt IS NOT NULL RETURNING 1";
const FORGET_REQUESTS: &str = "DELETE FROM request WHERE (id, party) IN \
     (SELECT id, party FROM request WHERE done_at < $1 ORDER BY done_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1";

/// The statements that most deliveries need, which are checked against the shard plan.
#[cfg(test)]
pub(super) const HOT: &[&str] =
    &[deliveries::FIRST_DELIVERIES, deliveries::HAND_OUT, TAKE_OVER, RENEW, PENDING, STATE, PROBE];

/// The statements over all mailboxes, whose plans are checked for scans.
#[cfg(test)]
pub(super) const PLANNED: &[&str] = &[CLAIM_DUE, NEXT_DUE, DUE, FORGET_REQUESTS];

impl PostgresMailboxes {
    pub(super) fn new(pool: Arc<Pool>, hints: HintPublisher) -> Self {
        Self { pool, hints, expanded: Mutex::new(PartyId(Uuid::nil())) }
    }

    pub(super) fn hints(&self) -> &HintPublisher {
        &self.hints
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }
}

#[async_trait]
impl Mailboxes for PostgresMailboxes {
    async fn claim_due(&self, query: &DueQuery) -> Result<Vec<Claim>, StoreError> {
        let (now, until) = (query.now.0, query.now.plus(query.lease).0);
        let wanted: Vec<(Reliability, bool)> =
            query.mailboxes.kinds().flat_map(|kind| [(kind, false), (kind, true)]).collect();
        let claim = || {
            let kinds: Vec<i32> = wanted.iter().map(|(kind, _)| *kind as i32).collect();
            let quiet: Vec<bool> = wanted.iter().map(|(_, quiet)| *quiet).collect();
            let slots: Vec<i64> = wanted.iter().map(|(kind, _)| at_most(query.mailboxes.of(*kind))).collect();
            params![now, kinds, quiet, slots, query.owner.0, until, query.now.minus(OVERDUE_AFTER).0]
        };
        // May run twice if a session is cut. A claim that was made by the first run has a lease that nobody
        // renews, and runs out.
        let rows = self.pool.query(CLAIM_DUE, claim).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut claimed = all(&rows, |row| Ok((get::<i64>(row, 12)?, claim_of(row)?)))?;
        // UPDATE … RETURNING has no defined order.
        claimed.sort_by_key(|(place, claim)| (claim.reliability, *place, claim.recipient));
        let asked: Vec<_> = claimed.iter().map(|(_, claim)| (claim.recipient, claim.acknowledged)).collect();
        let mut waiting = self.handed_out(&asked, query.deliveries).await?;
        let (mut claims, mut empty) = (Vec::with_capacity(claimed.len()), Vec::new());
        for (_, mut claim) in claimed {
            // Loaded after the claim: the lease keeps other markets away, and lanes only add to the end.
            claim.deliveries = waiting.remove(&claim.recipient).unwrap_or_default();
            // A claim without deliveries would stay due and be claimed again after each lease.
            if claim.deliveries.is_empty() { empty.push(claim) } else { claims.push(claim) }
        }
        if !empty.is_empty() {
            // The pending deliveries have expired in the meantime.
            settle::give_back(&self.pool, &empty).await?;
        }
        Ok(claims)
    }

    async fn next_due(
        &self,
        slots: ByReliability,
        before: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let kinds: Vec<i32> = slots.kinds().map(|kind| kind as i32).collect();
        let rows = self.pool.query(NEXT_DUE, || params![kinds.clone(), before.0]).await?;
        Ok(first(&rows, |row| convert::optional_time(row, 0))?.flatten())
    }

    async fn due(&self, now: Timestamp) -> Result<ByReliability, StoreError> {
        let mut due = ByReliability::default();
        for row in &self.pool.query(DUE, || params![now.0]).await? {
            let count = usize::try_from(get::<i64>(row, 1)?).unwrap_or(usize::MAX);
            due.set(Reliability::of(get::<i32>(row, 0)?.into()), count);
        }
        Ok(due)
    }

    async fn take_over(
        &self,
        recipient: PartyId,
        owner: LeaseOwner,
        until: Timestamp,
    ) -> Result<Option<Claim>, StoreError> {
        // Waits for the row lock instead of skipping it: the latest subscriber must get the mailbox.
        let rows = self.pool.query(TAKE_OVER, || params![recipient.0, owner.0, until.0]).await?;
        let claim = first(&rows, claim_of)?;
        if let Some(claim) = &claim {
            self.hints.publish(|hint| {
                // Ends the stream at the other market early. Without the hint it ends when that market polls.
                hint.taken.insert(recipient, claim.epoch);
            });
        }
        Ok(claim)
    }

    async fn renew(
        &self,
        recipient: PartyId,
        epoch: LeaseEpoch,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(!self.pool.query(RENEW, || params![recipient.0, epoch.0, until.0]).await?.is_empty())
    }

    async fn pending(
        &self,
        recipient: PartyId,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let rows = self.pool.query(PENDING, || params![recipient.0, after.0, at_most(limit)]).await?;
        all(&rows, |row| convert::delivery(row, 0))
    }

    async fn hand_out(
        &self,
        recipient: PartyId,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let mut handed = self.handed_out(&[(recipient, after)], limit).await?;
        Ok(handed.remove(&recipient).unwrap_or_default())
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<bool>, StoreError> {
        with_patience!(settle::settle(&self.pool, settlements))
    }

    async fn acknowledge(&self, recipient: PartyId, through: Sequence) -> Result<i64, StoreError> {
        let left: Result<_, StoreError> = with_patience!(settle::acknowledge(&self.pool, recipient, through));
        let mut left = left?;
        loop {
            if let Some(pending) = left {
                return Ok(pending);
            }
            let step: Result<_, StoreError> =
                with_patience!(settle::remove_some(&self.pool, recipient, REMOVAL_STEP));
            (_, left) = step?;
        }
    }

    async fn state(&self, recipient: PartyId) -> Result<Option<MailboxState>, StoreError> {
        Ok(first(&self.pool.query(STATE, || params![recipient.0]).await?, state)?)
    }

    async fn probe(&self, recipient: PartyId, now: Timestamp) -> Result<bool, StoreError> {
        Ok(!self.pool.query(PROBE, || params![recipient.0, now.0]).await?.is_empty())
    }

    async fn expand(&self, limit: usize) -> Result<Expansion, StoreError> {
        let last = *self.expanded.lock().unwrap_or_else(PoisonError::into_inner);
        let expanded: Result<_, StoreError> = with_patience!(expand::expand(&self.pool, last, limit));
        let (expansion, last) = expanded?;
        *self.expanded.lock().unwrap_or_else(PoisonError::into_inner) = last;
        // After the commit, so that a woken stream finds the deliveries.
        self.hints.publish(|hint| hint.filled.extend(&expansion.recipients));
        Ok(expansion)
    }

    async fn expire(&self, now: Timestamp, retention: Retention, limit: usize) -> Result<usize, StoreError> {
        with_patience!(settle::expire(&self.pool, now, retention, limit))
    }

    async fn forget_events(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        Ok(settle::forget_events(&self.pool, before, limit).await?)
    }

    async fn remove_acknowledged(&self, limit: usize) -> Result<usize, StoreError> {
        with_patience!(settle::remove_acknowledged(&self.pool, limit))
    }

    async fn forget_requests(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        Ok(self.pool.query(FORGET_REQUESTS, || params![before.0, at_most(limit)]).await?.len())
    }
}

impl PostgresMailboxes {
    async fn handed_out(
        &self,
        asked: &[(PartyId, Sequence)],
        limit: usize,
    ) -> Result<BTreeMap<PartyId, Vec<Delivery>>, StoreError> {
        with_patience!(deliveries::hand_out(&self.pool, asked, limit))
    }
}

fn claim_of(row: &Row) -> Result<Claim, Failure> {
    Ok(Claim {
        recipient: convert::party_id(row, 0)?,
        role: convert::role(row, 1)?,
        callback: convert::callback(row, 2, 3)?,
        epoch: LeaseEpoch(get(row, 4)?),
        failures: failures(row, 5)?,
        refusals: failures(row, 9)?,
        refused_since: convert::optional_time(row, 10)?,
        is_probe: get(row, 11)?,
        last_sequence: Sequence(get(row, 6)?),
        reliability: Reliability::of(get::<i32>(row, 7)?.into()),
        acknowledged: Sequence(get(row, 8)?),
        deliveries: Vec::new(),
    })
}

fn failures(row: &Row, column: usize) -> Result<u32, Failure> {
    u32::try_from(get::<i32>(row, column)?).map_err(unreadable)
}

pub(super) fn state(row: &Row) -> Result<MailboxState, Failure> {
    Ok(MailboxState {
        pending: get(row, 0)?,
        oldest: convert::optional_time(row, 1)?,
        acknowledged: get(row, 2)?,
        last_sequence: get(row, 3)?,
        callback: convert::callback(row, 4, 5)?,
        failures: failures(row, 6)?,
        next_attempt: convert::optional_time(row, 7)?,
        last_failure: get(row, 8)?,
        dropped: Dropped { orders: get(row, 9)?, updates: get(row, 10)? },
        last_dropped: convert::optional_time(row, 11)?,
        dead_letters: get(row, 12)?,
    })
}
