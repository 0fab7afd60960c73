//! Mailboxes: claims, leases and pending deliveries.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::{Connection, Error, OptionalExtension as _, Row, TransactionBehavior, params};
use souk_domain::{PartyId, Sequence, Timestamp};
use uuid::Uuid;

use super::{
    Turn,
    convert::{self, blob},
    deliveries, expand,
    pool::Pool,
    rows::at_most,
    settle,
};
use crate::{
    Claim, Delivery, DueQuery, Expansion, LeaseEpoch, LeaseOwner, MailboxState, Mailboxes, Retention,
    Settlement, StoreError,
};

pub(super) struct SqliteMailboxes {
    pool: Pool,
    turn: Turn,
    /// The seller whose events were expanded last. Not stored: after a restart the rotation begins again.
    expanded: Mutex<PartyId>,
}

impl SqliteMailboxes {
    pub(super) fn new(pool: Pool, turn: Turn) -> Self {
        Self { pool, turn, expanded: Mutex::new(PartyId(Uuid::nil())) }
    }

    /// Runs `work` in a write transaction, in turn with the lane.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        let turn = Arc::clone(&self.turn);
        self.pool.run(move |connection| in_turn(connection, &turn, work)).await
    }

    pub(super) async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        self.pool.run(move |connection| work(connection)).await
    }

    /// Runs `work` like [`Self::write`], in a transaction that survives a power loss.
    pub(super) async fn write_durably<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        let turn = Arc::clone(&self.turn);
        self.pool
            .run(move |connection| {
                // The connection is ours until the job ends, so no other operation runs with the wrong
                // setting. FULL syncs the log at the commit; NORMAL leaves that to the next sync.
                connection.pragma_update(None, "synchronous", "FULL")?;
                // No `?` before the setting is restored; otherwise a failure would leave the connection on
                // FULL for good.
                let done = in_turn(connection, &turn, work);
                connection.pragma_update(None, "synchronous", "NORMAL")?;
                done
            })
            .await
    }
}

#[async_trait]
impl Mailboxes for SqliteMailboxes {
    async fn claim_due(&self, query: &DueQuery) -> Result<Vec<Claim>, StoreError> {
        let query = *query;
        // Check without taking a turn first, because usually nothing is due. `claim_all` checks again.
        let due = self.pool.run(move |connection| due(connection, &query)).await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        self.write(move |transaction| claim_all(transaction, &due, &query)).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        // A mailbox is due when it is both past its back-off and free of a lease, hence the later of the two.
        let sql = "SELECT min(max(next_attempt, lease_until)) FROM mailbox \
                   WHERE next_attempt IS NOT NULL AND callback_port IS NOT NULL";
        self.pool
            .run(move |connection| connection.prepare_cached(sql)?.query_row([], |row| row.get(0)))
            .await
            .map(|time: Option<i64>| time.map(Timestamp))
    }

    async fn take_over(
        &self,
        recipient: PartyId,
        owner: LeaseOwner,
        until: Timestamp,
    ) -> Result<Option<Claim>, StoreError> {
        let sql = "UPDATE mailbox SET stream_until = ? WHERE party = ?";
        self.write(move |transaction| {
            transaction.prepare_cached(sql)?.execute(params![until.0, blob(recipient)])?;
            claim(transaction, recipient, owner, until).optional()
        })
        .await
    }

    async fn renew(
        &self,
        recipient: PartyId,
        epoch: LeaseEpoch,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        // The epoch is the fence: it grows with each claim, so a holder that was replaced can renew nothing.
        let sql =
            "UPDATE mailbox SET lease_until = ?3, stream_until = ?3 WHERE party = ?1 AND lease_epoch = ?2";
        self.write(move |transaction| {
            let renewed =
                transaction.prepare_cached(sql)?.execute(params![blob(recipient), epoch.0, until.0])?;
            Ok(renewed > 0)
        })
        .await
    }

    async fn pending(
        &self,
        recipient: PartyId,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        self.pool.run(move |connection| deliveries::waiting(connection, recipient, after, limit)).await
    }

    async fn hand_out(
        &self,
        recipient: PartyId,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        // Read without taking a turn first, because usually there is nothing to record.
        let waiting = self.pending(recipient, after, limit).await?;
        if Delivery::last_mergeable(&waiting).is_none() {
            return Ok(waiting);
        }
        // Read again: a merge in between may have replaced some of them.
        self.write(move |transaction| deliveries::hand_out(transaction, recipient, after, limit)).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<bool>, StoreError> {
        let settlements = settlements.to_vec();
        self.write(move |transaction| {
            settlements.iter().map(|settlement| settle::settle(transaction, settlement)).collect()
        })
        .await
    }

    async fn acknowledge(&self, recipient: PartyId, through: Sequence) -> Result<i64, StoreError> {
        self.write(move |transaction| {
            settle::take_out(transaction, recipient, through)?;
            let sql = "SELECT count(*) FROM mailbox JOIN delivery ON recipient = party AND sequence > acknowledged \
                       WHERE party = ?";
            transaction.prepare_cached(sql)?.query_row([blob(recipient)], |row| row.get(0))
        })
        .await
    }

    async fn state(&self, recipient: PartyId) -> Result<Option<MailboxState>, StoreError> {
        // One statement, so that the counts and the mailbox come from one snapshot.
        let sql = "SELECT (SELECT count(*) FROM delivery WHERE recipient = ?1 AND sequence > acknowledged), \
                   (SELECT min(occurred_at) FROM delivery WHERE recipient = ?1 AND sequence > acknowledged), \
                   acknowledged, last_sequence, callback_host, callback_port, failures, next_attempt, last_failure \
                   FROM mailbox WHERE party = ?1";
        self.pool
            .run(move |connection| {
                connection.prepare_cached(sql)?.query_row([blob(recipient)], state).optional()
            })
            .await
    }

    async fn probe(&self, recipient: PartyId, now: Timestamp) -> Result<bool, StoreError> {
        // Called for each new token, and most parties have nothing pending: check before taking a turn.
        let waits = "SELECT 1 FROM mailbox WHERE party = ? AND next_attempt IS NOT NULL";
        let waits = self
            .pool
            .run(move |connection| connection.prepare_cached(waits)?.exists([blob(recipient)]))
            .await?;
        if !waits {
            return Ok(false);
        }
        let sql = "UPDATE mailbox SET is_probed = is_probed OR lease_until > ?2, \
                   regular_attempt = CASE WHEN lease_until <= ?2 AND failures > 0 AND next_attempt > ?2 \
                   THEN coalesce(regular_attempt, next_attempt) ELSE regular_attempt END, \
                   next_attempt = ?2 WHERE party = ?1 AND next_attempt IS NOT NULL";
        self.write(move |transaction| {
            Ok(transaction.prepare_cached(sql)?.execute(params![blob(recipient), now.0])? > 0)
        })
        .await
    }

    async fn expand(&self, limit: usize) -> Result<Expansion, StoreError> {
        let last = *self.expanded.lock().unwrap_or_else(PoisonError::into_inner);
        let (expansion, last) =
            self.write_durably(move |transaction| expand::expand(transaction, last, limit)).await?;
        *self.expanded.lock().unwrap_or_else(PoisonError::into_inner) = last;
        Ok(expansion)
    }

    async fn expire(&self, now: Timestamp, retention: Retention, limit: usize) -> Result<usize, StoreError> {
        self.write(move |transaction| settle::expire(transaction, now, retention, limit)).await
    }

    async fn forget_requests(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let sql = "DELETE FROM request WHERE (id, party) IN \
                   (SELECT id, party FROM request WHERE done_at < ? ORDER BY done_at LIMIT ?)";
        self.write(move |transaction| {
            transaction.prepare_cached(sql)?.execute(params![before.0, at_most(limit)])
        })
        .await
    }
}

fn in_turn<T>(
    connection: &mut Connection,
    turn: &Turn,
    work: impl FnOnce(&Connection) -> Result<T, Error>,
) -> Result<T, Error> {
    // Blocking is fine: this is the thread of the mailboxes' connection, and the lane holds the turn only
    // for a batch.
    let _turn = turn.blocking_lock();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = work(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

fn due(connection: &Connection, query: &DueQuery) -> Result<Vec<PartyId>, Error> {
    let sql = "SELECT party FROM mailbox WHERE next_attempt IS NOT NULL AND callback_port IS NOT NULL \
               AND next_attempt <= ?1 AND lease_until <= ?1 ORDER BY next_attempt LIMIT ?2";
    let mut due = connection.prepare_cached(sql)?;
    due.query_map(params![query.now.0, at_most(query.mailboxes)], |row| convert::party_id(row, 0))?.collect()
}

/// Claims the mailboxes that are still due.
fn claim_all(transaction: &Connection, due: &[PartyId], query: &DueQuery) -> Result<Vec<Claim>, Error> {
    let sql = "SELECT 1 FROM mailbox WHERE party = ?1 AND next_attempt <= ?2 AND lease_until <= ?2 \
               AND callback_port IS NOT NULL";
    let mut still_due = transaction.prepare_cached(sql)?;
    let until = query.now.plus(query.lease);
    let mut claims = Vec::with_capacity(due.len());
    for recipient in due.iter().copied() {
        if !still_due.exists(params![blob(recipient), query.now.0])? {
            continue;
        }
        let mut claim = claim(transaction, recipient, query.owner, until)?;
        claim.deliveries =
            deliveries::hand_out(transaction, recipient, claim.acknowledged, query.deliveries)?;
        if claim.deliveries.is_empty() {
            // The pending deliveries have expired in the meantime.
            settle::give_back(transaction, recipient)?;
        } else {
            claims.push(claim);
        }
    }
    Ok(claims)
}

fn claim(
    transaction: &Connection,
    recipient: PartyId,
    owner: LeaseOwner,
    until: Timestamp,
) -> Result<Claim, Error> {
    let sql = "UPDATE mailbox SET lease_owner = ?2, lease_epoch = lease_epoch + 1, lease_until = ?3, \
               is_probed = 0, latest_attempt = NULL WHERE party = ?1 \
               RETURNING role, callback_host, callback_port, lease_epoch, failures, last_sequence, acknowledged";
    transaction.prepare_cached(sql)?.query_row(
        params![blob(recipient), owner.0.into_bytes(), until.0],
        |row| {
            Ok(Claim {
                recipient,
                role: convert::role(row, 0)?,
                callback: convert::callback(row, 1, 2)?,
                epoch: LeaseEpoch(row.get(3)?),
                failures: row.get(4)?,
                last_sequence: Sequence(row.get(5)?),
                acknowledged: Sequence(row.get(6)?),
                deliveries: Vec::new(),
            })
        },
    )
}

fn state(row: &Row<'_>) -> Result<MailboxState, Error> {
    Ok(MailboxState {
        pending: row.get(0)?,
        oldest: row.get::<_, Option<i64>>(1)?.map(Timestamp),
        acknowledged: row.get(2)?,
        last_sequence: row.get(3)?,
        callback: convert::callback(row, 4, 5)?,
        failures: row.get(6)?,
        next_attempt: row.get::<_, Option<i64>>(7)?.map(Timestamp),
        last_failure: row.get(8)?,
    })
}
