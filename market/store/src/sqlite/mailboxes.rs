//! Mailboxes: claims, leases and pending deliveries.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::{Connection, Error, OptionalExtension as _, Row, params};
use souk_domain::{PartyId, Sequence, Timestamp};
use uuid::Uuid;

use super::{
    claims,
    convert::{self, blob},
    deliveries, expand,
    open_files::OpenFiles,
    pool::Pool,
    requests, settle,
    turn::Turn,
};
use crate::{
    ByReliability, Claim, Delivery, Dropped, DueQuery, Expansion, LeaseEpoch, LeaseOwner, MAX_COUNTED,
    MailboxState, Mailboxes, Reliability, Retention, Settlement, StoreError, mailbox::REMOVAL_STEP,
    reliability::TakenBy,
};

/// The columns that [`state`] reads from `mailbox`. Deliveries are counted only while acknowledged ones are being
/// removed or held back by a named consumer, and then up to [`MAX_COUNTED`].
pub(super) const STATE: &str = "CASE WHEN removed >= acknowledged THEN pending ELSE \
     (SELECT count(*) FROM (SELECT 1 FROM delivery WHERE recipient = mailbox.party \
     AND sequence > mailbox.acknowledged LIMIT 10000)) END, \
     (SELECT occurred_at FROM delivery WHERE recipient = mailbox.party AND sequence > mailbox.acknowledged \
     ORDER BY sequence LIMIT 1), \
     acknowledged, last_sequence, callback_host, callback_port, failures, next_attempt, last_failure, \
     dropped_orders, dropped_updates, last_dropped, \
     (SELECT count(*) FROM dead_letter WHERE dead_letter.recipient = mailbox.party)";
const _: () = assert!(MAX_COUNTED == 10_000, "as in `STATE`");
/// The number of these columns.
pub(super) const STATE_COLUMNS: usize = 13;

/// The maximum number of mailboxes that are claimed or settled in one turn of the writers, each with up to a batch of
/// deliveries: about as long as a batch of purchases, which wait meanwhile.
const MAILBOXES_A_TURN: usize = 16;

pub(super) struct SqliteMailboxes {
    pool: Pool,
    writer: Writer,
    /// The seller whose events were expanded last. Not stored: after a restart the rotation begins again.
    expanded: Mutex<PartyId>,
}

/// What a write needs beside its connection.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) turn: Turn,
    pub(super) files: Arc<OpenFiles>,
}

impl Drop for SqliteMailboxes {
    fn drop(&mut self) {
        // Before the pool waits for its thread, which may be waiting for another process.
        self.writer.turn.close();
    }
}

impl SqliteMailboxes {
    pub(super) fn new(pool: Pool, writer: Writer) -> Self {
        Self { pool, writer, expanded: Mutex::new(PartyId(Uuid::nil())) }
    }

    /// Runs `work` in a write transaction, in turn with the lane.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        let writer = self.writer.clone();
        self.writer.files.may_write()?;
        let done = self.pool.run(move |connection| writer.write(connection, work)).await?;
        self.writer.files.may_acknowledge()?;
        Ok(done)
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
        let writer = self.writer.clone();
        self.writer.files.may_write()?;
        let done = self
            .pool
            .run(move |connection| {
                // The connection is ours until the job ends, so no other operation runs with the wrong
                // setting. FULL syncs the log at the commit; NORMAL leaves that to the next sync.
                connection.pragma_update(None, "synchronous", "FULL")?;
                // No `?` before the setting is restored; otherwise a failure would leave the connection on
                // FULL for good.
                let done =
                    writer.write(connection, work).inspect_err(|error| writer.files.judge_durable(error));
                connection.pragma_update(None, "synchronous", "NORMAL")?;
                done
            })
            .await?;
        self.writer.files.may_acknowledge()?;
        Ok(done)
    }
}

#[async_trait]
impl Mailboxes for SqliteMailboxes {
    async fn claim_due(&self, query: &DueQuery) -> Result<Vec<Claim>, StoreError> {
        let query = *query;
        // Check without taking a turn first, because usually nothing is due. `claim_all` checks again.
        let due = self.pool.run(move |connection| claims::due(connection, &query)).await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let mut claims = Vec::with_capacity(due.len());
        for some in due.chunks(MAILBOXES_A_TURN) {
            let some = some.to_vec();
            match self.write(move |transaction| claims::claim_all(transaction, &some, &query)).await {
                Ok(claimed) => claims.extend(claimed),
                Err(error) if claims.is_empty() => return Err(error),
                // What has been claimed is delivered, and the rest stays due.
                Err(error) => {
                    tracing::debug!(%error, "claimed only a part of the mailboxes that are due");
                    break;
                }
            }
        }
        Ok(claims)
    }

    async fn next_due(
        &self,
        slots: ByReliability,
        before: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        // A mailbox is due when it is both past its back-off and free of a lease, hence the later of the two.
        let sql = "SELECT min(max(next_attempt, lease_until)) FROM mailbox WHERE next_attempt IS NOT NULL \
                   AND callback_port IS NOT NULL AND reliability = ? AND quiet IN (0, 1) AND next_attempt <= ?";
        self.pool
            .run(move |connection| {
                let mut next = connection.prepare_cached(sql)?;
                let mut of_kind = |kind: Reliability| {
                    next.query_row(params![kind as i64, before.0], |row| row.get::<_, Option<i64>>(0))
                };
                let times = slots.kinds().map(&mut of_kind).collect::<Result<Vec<_>, _>>()?;
                Ok(times.into_iter().flatten().min().map(Timestamp))
            })
            .await
    }

    async fn due(&self, now: Timestamp) -> Result<ByReliability, StoreError> {
        let sql = "SELECT count(*) FROM mailbox WHERE next_attempt IS NOT NULL AND callback_port IS NOT NULL \
                   AND reliability = ?1 AND quiet IN (0, 1) AND next_attempt <= ?2 AND lease_until <= ?2";
        self.pool
            .run(move |connection| {
                let (mut count, mut due) = (connection.prepare_cached(sql)?, ByReliability::default());
                for kind in Reliability::ALL {
                    let number: i64 = count.query_row(params![kind as i64, now.0], |row| row.get(0))?;
                    due.set(kind, usize::try_from(number).unwrap_or(0));
                }
                Ok(due)
            })
            .await
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
            claims::claim(transaction, recipient, owner, until).optional()
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
        let mut held = Vec::with_capacity(settlements.len());
        for some in settlements.chunks(MAILBOXES_A_TURN) {
            let some = some.to_vec();
            let settle = move |transaction: &Connection| {
                let settled = some.iter().map(|settlement| settle::settle(transaction, settlement));
                settled.collect::<Result<Vec<_>, _>>()
            };
            held.extend(self.write(settle).await?);
        }
        Ok(held)
    }

    async fn acknowledge(&self, recipient: PartyId, through: Sequence) -> Result<i64, StoreError> {
        let mut left = self
            .write(move |transaction| {
                settle::take_out(transaction, recipient, through, TakenBy::Acknowledgement)?;
                settle::pending(transaction, recipient)
            })
            .await?;
        loop {
            if let Some(pending) = left {
                return Ok(pending);
            }
            // Each step is a turn of its own, in between which the lane has its own.
            left = self
                .write(move |transaction| {
                    settle::remove_some(transaction, recipient, REMOVAL_STEP)?;
                    settle::pending(transaction, recipient)
                })
                .await?;
        }
    }

    async fn state(&self, recipient: PartyId) -> Result<Option<MailboxState>, StoreError> {
        // One statement, so that the counts and the mailbox come from one snapshot.
        let sql = format!("SELECT {STATE} FROM mailbox WHERE party = ?1");
        self.pool
            .run(move |connection| {
                connection.prepare_cached(&sql)?.query_row([blob(recipient)], state).optional()
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
                   next_attempt = ?2, reliability = min(reliability, 1) \
                   WHERE party = ?1 AND next_attempt IS NOT NULL";
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

    async fn forget_events(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.write(move |transaction| settle::forget_events(transaction, before, limit)).await
    }

    async fn remove_acknowledged(&self, limit: usize) -> Result<usize, StoreError> {
        self.write(move |transaction| settle::remove_acknowledged(transaction, limit)).await
    }

    async fn forget_requests(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.write(move |transaction| requests::forget(transaction, before, limit)).await
    }
}

impl Writer {
    /// Runs `work` in a transaction of its own, in turn with the other writers.
    fn write<T>(
        &self,
        connection: &Connection,
        work: impl FnOnce(&Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // Blocking is fine: this is the thread of the mailboxes' connection, and the lane holds the turn only
        // for a batch.
        let _turn = self.turn.take_blocking();
        self.turn.begin_blocking(connection)?;
        let done = work(connection).and_then(|done| {
            connection.prepare_cached("COMMIT")?.execute([])?;
            Ok(done)
        });
        // After a write that failed, SQLite may have rolled back by itself.
        if done.is_err()
            && !connection.is_autocommit()
            && let Err(error) = connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "can't roll back a transaction of the mailboxes");
        }
        done
    }
}

pub(super) fn state(row: &Row<'_>) -> Result<MailboxState, Error> {
    Ok(MailboxState {
        pending: row.get(0)?,
        oldest: row.get::<_, Option<i64>>(1)?.map(Timestamp),
        acknowledged: row.get(2)?,
        last_sequence: row.get(3)?,
        callback: convert::callback(row, 4, 5)?,
        failures: row.get(6)?,
        next_attempt: row.get::<_, Option<i64>>(7)?.map(Timestamp),
        last_failure: row.get(8)?,
        dropped: Dropped { orders: row.get(9)?, updates: row.get(10)? },
        last_dropped: row.get::<_, Option<i64>>(11)?.map(Timestamp),
        dead_letters: row.get(12)?,
    })
}
