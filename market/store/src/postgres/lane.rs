//! A lane: a transaction per batch, on a session of its own.
//!
//! A batch costs two ways there and back: one to load, one to save and commit. The session lives on the runtime of
//! the lane's own thread, so that an answer is taken up where it arrives.

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
use crate::{Lane, Receipt, SaveError, StoreError};

/// How often loading is tried when it meets a deadlock or a session that has ended.
const LOAD_ATTEMPTS: usize = 4;
/// Numbers that a batch left over are used by the next ones, but not much later: so numbers grow with time, as
/// far as people can tell.
const SPARE_NUMBERS_LIFE: Duration = Duration::from_secs(1);

const SESSION: Session = Session { prepare: sql::LANE, durable: true };

pub(super) struct PostgresLane {
    address: Arc<Address>,
    hints: HintPublisher,
    /// Counts this lane's replays.
    id: Uuid,
    /// There while it is provably idle, or in the transaction of the batch under way.
    connection: Option<Connection>,
    /// Of the parties of the batch under way.
    parties: BTreeMap<PartyId, Before>,
    items: Numbers,
    orders: Numbers,
}

/// Numbers of one kind.
#[derive(Default)]
struct Numbers {
    /// Left over by the batches before.
    spare: Vec<i64>,
    /// Since when.
    since: Option<Instant>,
    /// Handed to the batch under way.
    handed: Vec<i64>,
}

impl Numbers {
    /// How many more a batch needs.
    fn missing(&mut self, needed: usize) -> usize {
        if self.since.is_some_and(|since| since.elapsed() > SPARE_NUMBERS_LIFE) {
            self.spare.clear();
        }
        needed.saturating_sub(self.spare.len())
    }

    /// All that there are, with those that were just taken.
    fn hand_out(&mut self, taken: &IdRange) -> IdRange {
        let all: Vec<i64> = self.spare.drain(..).chain(taken.left().iter().copied()).collect();
        self.handed.clone_from(&all);
        IdRange::of(all)
    }

    /// The batch has ended and used all but these.
    fn take_back(&mut self, left: &[i64]) {
        self.handed.clear();
        self.spare = left.to_vec();
        self.since = Some(Instant::now());
    }

    /// None is left, or none is to be trusted.
    fn forget(&mut self) {
        self.take_back(&[]);
    }

    /// The batch came to nothing.
    fn take_all_back(&mut self) {
        let handed = std::mem::take(&mut self.handed);
        self.take_back(&handed);
    }
}

impl PostgresLane {
    pub(super) fn new(address: Arc<Address>, hints: HintPublisher, id: Uuid) -> Self {
        Self {
            address,
            hints,
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
                // Numbers of a session that is gone may be given out again: what no commit has made durable is
                // unknown to a server that has restarted, or to a standby that took over.
                self.items.forget();
                self.orders.forget();
                Connection::open(&self.address, &SESSION, &Handle::current()).await
            }
        }
    }

    /// Once. On a failure the session is back if, and only if, it is idle again.
    async fn try_load(&mut self, keys: &Keys) -> Result<WorkingSet, Failure> {
        let connection = self.session().await?;
        let numbers = NewNumbers {
            items: self.items.missing(keys.new_items),
            orders: self.orders.missing(keys.new_orders),
        };
        match load::load(&connection, keys, numbers).await {
            Ok(load::Loaded { mut rows, parties }) => {
                rows.item_ids = self.items.hand_out(&rows.item_ids);
                rows.order_ids = self.orders.hand_out(&rows.order_ids);
                self.parties = parties;
                self.connection = Some(connection);
                Ok(rows)
            }
            Err(failure) => {
                if !failure.is_disconnection() && connection.batch("ROLLBACK").await.is_ok() {
                    self.connection = Some(connection);
                }
                Err(failure)
            }
        }
    }

    /// Waits for the transactions that were under way at the commit of a changed party. They may have been decided
    /// on the party as it was before: once the change is acknowledged, nobody is suspended and still sells,
    /// and no till misses a sale that it does not see in the stock. Waits for `HORIZON_PATIENCE` at the most: a
    /// transaction that is open for longer, such as one that waits for a slow standby, is told in the log.
    async fn outlast_others(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let deadline = Instant::now() + chain::HORIZON_PATIENCE;
        let mut wanted = None;
        while let Ok(rows) = connection.query(chain::HORIZON, Vec::new()).await {
            let horizon = convert::first(&rows, |row| Ok((convert::get(row, 0)?, convert::get(row, 1)?)));
            let (known, taken): (i64, i64) = horizon.ok().flatten().unwrap_or((0, 0));
            let is_over = known >= *wanted.get_or_insert(taken);
            if !is_over && Instant::now() >= deadline {
                tracing::warn!(
                    "a transaction from before a party's change is still open; what it does may be of before"
                );
            }
            if is_over || Instant::now() >= deadline {
                self.connection = Some(connection);
                return;
            }
            sleep(chain::HORIZON_LOOK).await;
        }
    }

    /// Commits what the pipeline holds. Only a session that has answered to everything is kept.
    async fn commit(
        &mut self,
        fill: impl FnOnce(&mut super::connection::Pipeline<'_>) -> Result<Saving, Failure>,
    ) -> Result<Receipt, SaveError> {
        let Some(connection) = self.connection.take() else {
            return Err(SaveError::Lost(StoreError::unavailable("there is no transaction to save in")));
        };
        connection.forget_warnings();
        let mut pipeline = connection.pipeline();
        let Saving { mut receipt, feed } =
            fill(&mut pipeline).map_err(|failure| SaveError::Lost(failure.into_store_error()))?;
        pipeline.add_command("COMMIT");
        let indefinite = |failure: Failure| SaveError::Indefinite(failure.into_store_error());
        let mut answers = pipeline.run(PATIENCE).await.map_err(indefinite)?;
        let committed = answers.pop().unwrap_or_else(|| Ok(Vec::new()));
        let mut saved = Vec::with_capacity(answers.len());
        for answer in answers {
            match answer {
                Ok(rows) => saved.push(rows),
                // After a refused statement the server makes a rollback of the commit.
                Err(failure) if failure.is_refusal() => {
                    self.connection = Some(connection).filter(|_| committed.is_ok());
                    return Err(lost(failure));
                }
                Err(failure) => return Err(indefinite(failure)),
            }
        }
        match committed {
            // A commit that is cancelled while it waits for its standby is reported as done, with a warning.
            Ok(_) if connection.was_warned() => {
                return Err(SaveError::Indefinite(StoreError::unavailable(
                    "PostgreSQL warned while it committed: the standby may not have it",
                )));
            }
            Ok(_) => self.connection = Some(connection),
            Err(failure) if failure.is_refusal() && !failure.is_disconnection() => return Err(lost(failure)),
            Err(failure) => return Err(indefinite(failure)),
        }
        let positions = feed.map_or(&[][..], |place| &saved[place]);
        for row in positions {
            // What was committed stands, whatever a position looks like.
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
                // Nothing was written yet. A session that was cut may have been an old one.
                Err(failure @ Failure::Postgres(_))
                    if failure.is_disconnection() || (failure.is_collision() && !failure.is_held()) =>
                {
                    tracing::debug!(%failure, "a batch is loaded again");
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
        // Nothing is committed, which would wait for the standby that the others wait for.
        let is_there = !held.as_ref().is_err_and(Failure::is_disconnection);
        if is_there && connection.batch("ROLLBACK").await.is_ok() {
            self.connection = Some(connection);
        }
        Ok(held?)
    }

    async fn save(&mut self, rows: &WorkingSet) -> Result<Receipt, SaveError> {
        let before = std::mem::take(&mut self.parties);
        let saved = self.commit(|pipeline| save::add_all(pipeline, rows, &before)).await;
        match &saved {
            Ok(receipt) => {
                self.hints.publish(|hint| hint.add(receipt));
                self.items.take_back(rows.item_ids.left());
                self.orders.take_back(rows.order_ids.left());
                let mut changes = rows.parties.changes().filter_map(|(id, now)| before.get(&id).zip(now));
                if changes.any(|(before, now)| before.weighs_otherwise_than(now)) {
                    self.outlast_others().await;
                }
            }
            // They may be in use, or others' all along.
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

    /// Writes, so that the commit waits for the same standbys as the one that it confirms.
    async fn confirm(&mut self, replays: usize) -> Result<(), SaveError> {
        self.items.take_all_back();
        self.orders.take_all_back();
        let (id, count) = (self.id, i64::try_from(replays).unwrap_or(i64::MAX));
        let fill = |pipeline: &mut super::connection::Pipeline<'_>| {
            pipeline.add(sql::COUNT_REPLAYS, params![id, count]);
            Ok(Saving { receipt: Receipt::default(), feed: None })
        };
        self.commit(fill).await.map(|_| ())
    }
}
