//! A lane: one transaction per batch, on its own session.
//!
//! A batch costs two round trips: one to load, one to save and commit. The session is driven by the runtime
//! of the lane's own thread, so that a reply wakes the lane without crossing threads.
//!
//! The session is taken out of the lane while a statement is in progress, and put back only when it has
//! answered everything and is in a known state. So a future that is dropped half-way, or an error whose
//! effect is unknown, can never leave a half-finished transaction behind for the next batch: the session is
//! closed, and the server rolls back.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use souk_domain::{IdRange, Keys, PartyId, WorkingSet};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};
use uuid::Uuid;

use super::{
    address::Address,
    chain,
    connection::{Connection, PATIENCE, Session, params},
    convert,
    error::Failure,
    hints::HintPublisher,
    load::{self, Before, NewNumbers},
    save::{self, Saving},
    statements as sql,
};
use crate::{Lane, Receipt, SaveError, StoreError, space::Space};

/// How often loading is attempted if it meets a deadlock or a session that has ended.
const LOAD_ATTEMPTS: usize = 4;
/// How long the numbers that a batch did not use are kept for the next ones. Not for long, so that to users
/// numbers grow with time.
const SPARE_NUMBERS_LIFE: Duration = Duration::from_secs(1);

const SESSION: Session = Session { prepare: sql::LANE, durable: true, gives_up: false };

pub(super) struct PostgresLane {
    address: Arc<Address>,
    hints: HintPublisher,
    space: Space,
    /// The key of this lane's row in `replay`. One row per lane, so that lanes do not wait for each other's.
    id: Uuid,
    /// Present while it is known to be idle, or in the transaction of the current batch.
    connection: Option<Connection>,
    /// The parties of the current batch as loaded, for their revisions.
    parties: BTreeMap<PartyId, Before>,
    items: Numbers,
    orders: Numbers,
}

/// Reserved numbers of one kind. They come from a database sequence, which a rollback does not reset.
#[derive(Default)]
struct Numbers {
    /// Not used by the batches before.
    spare: Vec<i64>,
    /// When they were left over.
    since: Option<Instant>,
    /// Handed to the current batch.
    handed: Vec<i64>,
}

impl Numbers {
    /// Returns how many more a batch needs.
    fn missing(&mut self, needed: usize) -> usize {
        if self.since.is_some_and(|since| since.elapsed() > SPARE_NUMBERS_LIFE) {
            // The numbers leave a gap. Ids are unique and grow, but nothing relies on their being dense.
            self.spare.clear();
        }
        needed.saturating_sub(self.spare.len())
    }

    /// Hands out all spare numbers together with the new ones.
    fn hand_out(&mut self, taken: &IdRange) -> IdRange {
        let all: Vec<i64> = self.spare.drain(..).chain(taken.left().iter().copied()).collect();
        // Remembered, because the working set that holds them is dropped if the batch is refused.
        self.handed.clone_from(&all);
        IdRange::of(all)
    }

    /// Takes back the numbers that the batch did not use.
    fn take_back(&mut self, left: &[i64]) {
        self.handed.clear();
        self.spare = left.to_vec();
        self.since = Some(Instant::now());
    }

    /// Discards all numbers, because some may be in use.
    fn forget(&mut self) {
        self.take_back(&[]);
    }

    /// Takes back all numbers of a batch that was rolled back.
    fn take_all_back(&mut self) {
        let handed = std::mem::take(&mut self.handed);
        self.take_back(&handed);
    }
}

impl PostgresLane {
    pub(super) fn new(address: Arc<Address>, hints: HintPublisher, id: Uuid, space: Space) -> Self {
        Self {
            address,
            hints,
            space,
            id,
            connection: None,
            parties: BTreeMap::new(),
            items: Numbers::default(),
            orders: Numbers::default(),
        }
    }

    async fn session(&mut self) -> Result<Connection, Failure> {
        match self.connection.take().filter(|connection| !connection.is_closed()) {
            Some(connection) => Ok(connection),
            None => {
                // The database may give out the numbers of a lost session again: `nextval` is durable only
                // with the next commit, so a server that has restarted, or a standby that took over, may not
                // know of them.
                self.items.forget();
                self.orders.forget();
                // The current runtime is that of the lane: I/O and rules share one thread, and a reply needs
                // no wake-up across threads.
                Connection::open(&self.address, &SESSION, &Handle::current()).await
            }
        }
    }

    /// Loads once. On a failure the session is kept only if it is known to be idle again.
    async fn try_load(&mut self, keys: &Keys) -> Result<WorkingSet, Failure> {
        let connection = self.session().await?;
        // Computed after `session()`, which may have discarded the spare numbers.
        let numbers = NewNumbers {
            items: self.items.missing(keys.new_items),
            orders: self.orders.missing(keys.new_orders),
        };
        match load::load(&connection, keys, numbers).await {
            Ok(load::Loaded { mut rows, parties }) => {
                // The transaction stays open from here until `save`, `confirm` or `abandon`.
                rows.item_ids = self.items.hand_out(&rows.item_ids);
                rows.order_ids = self.orders.hand_out(&rows.order_ids);
                self.parties = parties;
                self.connection = Some(connection);
                Ok(rows)
            }
            Err(failure) => {
                // A failed transaction rejects every statement but the end of it (SQLSTATE 25P02).
                if !failure.is_disconnection() && connection.batch("ROLLBACK").await.is_ok() {
                    self.connection = Some(connection);
                }
                Err(failure)
            }
        }
    }

    /// Waits for the transactions that were open when a party's change was committed.
    ///
    /// Parties are read without a lock, so those transactions may have been decided on the party as it was
    /// before. Once the change is acknowledged, no suspended party may still sell, and no till may miss a
    /// sale that its stock does not show. Waits for at most [`chain::HORIZON_PATIENCE`]; if a transaction is
    /// open for longer, such as one that waits for a slow standby, logs a warning.
    async fn outlast_others(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let deadline = Instant::now() + chain::HORIZON_PATIENCE;
        let mut wanted = None;
        // An error ends the wait and drops the session. The commit stands in any case, so the caller is
        // answered.
        while let Ok(rows) = connection.query(chain::HORIZON, Vec::new()).await {
            let horizon = convert::first(&rows, |row| Ok((convert::get(row, 0)?, convert::get(row, 1)?)));
            let (known, taken): (i64, i64) = horizon.ok().flatten().unwrap_or((0, 0));
            // `taken` of the first look bounds all transactions that were open then; later ones see the
            // change anyway.
            let is_over = known >= *wanted.get_or_insert(taken);
            if !is_over && Instant::now() >= deadline {
                // Not a warning for each change: `horizon` reports what holds it, once.
                tracing::debug!(
                    "a transaction from before a party's change is still open; it may not see the change"
                );
            }
            if is_over || Instant::now() >= deadline {
                self.connection = Some(connection);
                return;
            }
            sleep(chain::HORIZON_LOOK).await;
        }
    }

    /// Sends the pipeline's statements and the commit in one round trip. Keeps the session only if it has
    /// answered all of them.
    ///
    /// From the first byte of the commit on, a broken connection means [`SaveError::Indefinite`]: the server
    /// may have committed without the reply arriving.
    async fn commit(
        &mut self,
        fill: impl FnOnce(&mut super::connection::Pipeline<'_>) -> Result<Saving, Failure>,
    ) -> Result<Receipt, SaveError> {
        let committed = self.try_commit(fill).await;
        if let Err(SaveError::Lost(StoreError::Full(error))) = &committed {
            self.space.ran_out(error);
        }
        committed
    }

    async fn try_commit(
        &mut self,
        fill: impl FnOnce(&mut super::connection::Pipeline<'_>) -> Result<Saving, Failure>,
    ) -> Result<Receipt, SaveError> {
        let Some(connection) = self.connection.take() else {
            return Err(SaveError::Lost(StoreError::unavailable("there is no transaction to save in")));
        };
        // A warning from loading must not be taken for one about this commit.
        connection.forget_warnings();
        // Statements and commit go out together. If a statement fails, the server rejects those after it and
        // turns the commit into a rollback.
        let mut pipeline = connection.pipeline();
        let Saving { mut receipt, feed, queued, mailboxes } =
            fill(&mut pipeline).map_err(|failure| SaveError::Lost(failure.into_store_error()))?;
        pipeline.add_command("COMMIT");
        let indefinite = |failure: Failure| SaveError::Indefinite(failure.into_store_error());
        let mut answers = pipeline.run(PATIENCE).await.map_err(indefinite)?;
        // The last reply is the commit's, but only those before it show whether it was a commit or a
        // rollback.
        let committed = answers.pop().unwrap_or_else(|| Ok(Vec::new()));
        let mut saved = Vec::with_capacity(answers.len());
        for answer in answers {
            match answer {
                Ok(rows) => saved.push(rows),
                // In a failed transaction, the server turns COMMIT into a rollback, so nothing was written.
                Err(failure) if failure.is_refusal() => {
                    self.connection = Some(connection).filter(|_| committed.is_ok());
                    return Err(lost(failure));
                }
                Err(failure) => return Err(indefinite(failure)),
            }
        }
        match committed {
            // If the wait for the standby is cancelled, the server reports success with a warning: the
            // commit is on the primary's disk only, and a failover could lose it.
            Ok(_) if connection.was_warned() => {
                return Err(SaveError::Indefinite(StoreError::unavailable(
                    "PostgreSQL warned while it committed: the standby may not have it",
                )));
            }
            Ok(_) => self.connection = Some(connection),
            // A server that shuts down also sends an error, possibly after it has written the commit.
            Err(failure) if failure.is_refusal() && !failure.is_disconnection() => return Err(lost(failure)),
            Err(failure) => return Err(indefinite(failure)),
        }
        receipt.needs_expansion = queued.is_some_and(|place| !saved[place].is_empty());
        let mailboxes = mailboxes.map_or(&[][..], |place| &saved[place]);
        // If that can't be read, the relay looks for itself.
        receipt.has_callback |= mailboxes.iter().any(|row| convert::get(row, 1).unwrap_or(true));
        let positions = feed.map_or(&[][..], |place| &saved[place]);
        for row in positions {
            // The commit stands even if a position can't be read: the feed position only speeds up the
            // search.
            receipt.feed_position = receipt.feed_position.max(convert::position(row, 0).ok());
        }
        Ok(receipt)
    }
}

fn lost(failure: Failure) -> SaveError {
    if failure.is_collision() {
        SaveError::Conflict(failure.into_store_error())
    } else {
        SaveError::Lost(failure.into_store_error())
    }
}

#[async_trait]
impl Lane for PostgresLane {
    async fn load(&mut self, keys: &Keys) -> Result<WorkingSet, StoreError> {
        for _ in 1..LOAD_ATTEMPTS {
            match self.try_load(keys).await {
                Ok(rows) => return Ok(rows),
                // Safe to retry, since nothing was written. A session that was cut may have been idle since
                // before a restart of the server. A lock timeout is not retried here: the caller asks which
                // rows are held, and retries without them.
                Err(failure @ Failure::Postgres(_))
                    if failure.is_disconnection() || (failure.is_collision() && !failure.is_held()) =>
                {
                    tracing::debug!(%failure, "retrying to load a batch");
                }
                Err(failure) => return Err(failure.into_store_error()),
            }
        }
        self.try_load(keys).await.map_err(Failure::into_store_error)
    }

    async fn held(&mut self, keys: &Keys) -> Result<Keys, StoreError> {
        let mut connection = self.session().await?;
        connection.batch("BEGIN").await?;
        let held = load::held(&mut connection, keys).await;
        // Roll back rather than commit: a commit would wait for the same standby as the transactions in the
        // way.
        let is_there = !held.as_ref().is_err_and(Failure::is_disconnection);
        if is_there && connection.batch("ROLLBACK").await.is_ok() {
            self.connection = Some(connection);
        }
        Ok(held?)
    }

    async fn save(&mut self, rows: &WorkingSet) -> Result<Receipt, SaveError> {
        // Taken, so that the revisions of this batch can never be compared in the next one.
        let before = std::mem::take(&mut self.parties);
        let saved = self.commit(|pipeline| save::add_all(pipeline, rows, &before)).await;
        match &saved {
            Ok(receipt) => {
                // After the commit, never before: a market that gets the hint reads the store.
                self.hints.publish(|hint| hint.add(receipt));
                self.items.take_back(rows.item_ids.left());
                self.orders.take_back(rows.order_ids.left());
                // Only parties that existed: nobody can have decided anything about a new one.
                let mut changes = rows.parties.changes().filter_map(|(id, now)| before.get(&id).zip(now));
                if changes.any(|(before, now)| before.weighs_otherwise_than(now)) {
                    self.outlast_others().await;
                }
            }
            // The outcome may be unknown, or the numbers were in use already: either way they can't be
            // reused.
            Err(_) => {
                self.items.forget();
                self.orders.forget();
            }
        }
        saved
    }

    async fn abandon(&mut self) {
        self.items.take_all_back();
        self.orders.take_all_back();
        let Some(connection) = self.connection.take() else { return };
        if connection.batch("ROLLBACK").await.is_ok() {
            self.connection = Some(connection);
        }
    }

    /// Writes a counter, because a transaction that has written waits at its commit for the same standbys as
    /// the commit that it confirms. A read-only one would not wait, and the replay could report an outcome
    /// that a failover loses.
    async fn confirm(&mut self, replays: usize) -> Result<(), SaveError> {
        self.items.take_all_back();
        self.orders.take_all_back();
        let (id, count) = (self.id, i64::try_from(replays).unwrap_or(i64::MAX));
        let fill = |pipeline: &mut super::connection::Pipeline<'_>| {
            pipeline.add(sql::COUNT_REPLAYS, params![id, count]);
            Ok(Saving::default())
        };
        self.commit(fill).await.map(|_| ())
    }
}
