//! The store: the traits that a back end implements, and the back ends memory, SQLite and PostgreSQL.
//!
//! A back end loads and saves rows, and contains no rules. Its roles are separate traits, because different
//! parts of the market use them in different ways:
//!
//! - [`Lane`]: the write path. One transaction per batch of commands: [`Lane::load`] the rows that the batch
//!   names, decide the commands, [`Lane::save`] what they changed.
//! - [`Reads`]: queries. They never wait for a writer.
//! - [`Mailboxes`]: pending deliveries, and the leases of those who deliver them (the server's `relay`).
//! - [`Consumers`]: the named consumers of a mailbox, each with a cursor of its own.
//! - [`DeadLetters`]: what mailboxes have dropped.
//! - [`Tracks`]: the positions of rides.
//! - [`Clocks`]: the market's steady time.
//! - [`MarketKeys`]: the public keys with which markets sign access tokens.
//! - [`Upkeep`]: work that no call waits for, such as compacting the audit log.
//! - [`Ranking`]: the daily sweep over what was sold recently.
//! - [`Archive`]: removal of old orders and audit entries that an operator has copied to files.
//! - [`Replicas`]: the other markets on the same database.
//!
//! Every back end passes the same conformance suite, `tests/it` of this crate.

mod archive;
pub mod audit;
mod backlog;
mod check;
mod clock;
mod consumer;
mod dead_letter;
mod error;
#[cfg(test)]
mod fixture;
mod health;
mod mailbox;
mod market_keys;
pub mod memory;
mod opening;
pub mod postgres;
mod query;
mod ranking;
mod reliability;
mod replicas;
mod shares;
mod space;
pub mod sqlite;
mod track;
mod upkeep;
mod write_ahead_log;

use std::sync::Arc;

use async_trait::async_trait;
use souk_domain::{ItemId, Keys, Party, PartyId, RequestId, TillId, WorkingSet};

pub use archive::{AUDIT_STEP, Archive, DueOrders, ORDERS_STEP, PrunedBy};
pub use backlog::{Backlogs, MOST_COUNTED, Reading, StoreQueues};
pub use check::Finding;
pub use clock::{ClockFinding, ClockMark, ClockReport, Clocks, DueBounds};
pub use consumer::{
    CONSUMER_RETENTION, ConsumerOpening, ConsumerRemoval, ConsumerState, ConsumerStream, Consumers,
    MAX_CONSUMERS, MAX_COUNTED,
};
pub use dead_letter::{
    DEAD_LETTER_RETENTION, DeadLetterQuery, DeadLetters, MAX_DEAD_LETTERS, MailboxRecord, Missed,
};
pub use error::{SaveError, StoreError};
pub use health::{Health, HealthState};
pub use mailbox::{
    Claim, Delivery, Dropped, DueQuery, Expansion, LeaseEpoch, LeaseOwner, MailboxState, Mailboxes,
    ORDER_PATIENCE, Retention, Settlement, Verdict,
};
pub use market_keys::{ENDED_KEY_RETENTION, MAX_PUBLISHED_KEYS, MarketKeys, PublishedKey};
pub use opening::{Migrating, OpeningProgress};
pub use query::{FeedEntry, FeedPosition, ItemQuery, OrderQuery, OrdersOf, Reads, RideQuery};
pub use ranking::{
    Ranking, SWEEP_STEP, SweepLook, SweepMark, SweepPlace, SweepProgress, SweepRequest, SweepStep,
};
pub use reliability::{ByReliability, Reliability};
pub use replicas::{Hint, HorizonState, Look, Replicas};
pub use track::{Fix, TrackPoint, Tracks};
pub use upkeep::Upkeep;
pub use write_ahead_log::WriteAheadLog;

/// An open store: one object for each role.
pub struct Store {
    /// The write path: one lane for each writer that the back end can run in parallel.
    pub lanes: Vec<Box<dyn Lane>>,
    /// The queries of services, search and operators.
    pub reads: Arc<dyn Reads>,
    /// The mailboxes, for the relay.
    pub mailboxes: Arc<dyn Mailboxes>,
    /// The named consumers of mailboxes, for the relay.
    pub consumers: Arc<dyn Consumers>,
    /// What mailboxes have dropped.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// The positions of rides.
    pub tracks: Arc<dyn Tracks>,
    /// The market's steady time.
    pub clocks: Arc<dyn Clocks>,
    /// The public keys with which markets sign access tokens.
    pub market_keys: Arc<dyn MarketKeys>,
    /// Work that no call waits for.
    pub upkeep: Arc<dyn Upkeep>,
    /// The daily sweep over what was sold recently.
    pub ranking: Arc<dyn Ranking>,
    /// Removal of what operators have archived.
    pub archive: Arc<dyn Archive>,
    /// The other markets on the same store; `None` if the back end can't be shared.
    pub replicas: Option<Arc<dyn Replicas>>,
    /// Whether the store can keep its promises.
    pub health: Health,
    /// The size of the write-ahead log; `None` for a back end that has none of its own.
    pub log: Option<WriteAheadLog>,
    /// What waits for a connection; `None` for a back end without connections.
    pub queues: Option<StoreQueues>,
}

/// One writer.
///
/// A lane handles one transaction at a time: `load`, then exactly one of `save`, `confirm` and `abandon`.
/// Between them the caller decides the batch, without I/O, so that locks are held only as long as the
/// database needs.
#[async_trait]
pub trait Lane: Send {
    /// Begins a transaction and loads the rows that `keys` names, together with the items of the orders and
    /// the sellers of all items. Reserves numbers for the new rows. Rows that don't exist are left out.
    ///
    /// Rows that commands change (rides, tills, orders, items) are locked against other writers, in key
    /// order, so that two batches can't deadlock.
    ///
    /// # Errors
    ///
    /// On an error the transaction has ended. If another writer holds a row's lock for longer than the lock
    /// timeout, fails with [`StoreError::Held`].
    async fn load(&mut self, keys: &Keys) -> Result<WorkingSet, StoreError>;

    /// Returns the keys of those rows in `keys` that other writers have locked at the moment. Called between
    /// transactions, after [`StoreError::Held`], so that the caller can retry the commands that do not need
    /// the locked rows. Returns none where there are no other writers.
    async fn held(&mut self, keys: &Keys) -> Result<Keys, StoreError> {
        let _ = keys;
        Ok(Keys::default())
    }

    /// Returns whether [`Lane::save`] fails with [`SaveError::Conflict`] if it meets a request that was carried out
    /// before and was not loaded, so that the requests of a batch need not be loaded. A back end that has to look
    /// anyway returns false.
    fn notices_repetitions(&self) -> bool {
        false
    }

    /// Returns whether one of these requests was carried out before. Called between [`Lane::load`] and the end of the
    /// transaction.
    ///
    /// # Errors
    ///
    /// On an error the transaction has ended.
    async fn has_requests(&mut self, requests: &[(PartyId, RequestId)]) -> Result<bool, StoreError> {
        let _ = requests;
        Ok(false)
    }

    /// Writes everything that the rules have changed, in bulk, and commits durably. Saving
    ///
    /// - a party also opens its mailbox, sets the mailbox's callback and ends its back-off,
    /// - an item in `search_changes` also moves it to the next [`FeedPosition`],
    /// - an event for a party also puts a delivery into its mailbox, under the next sequence, and makes the
    ///   mailbox due (unless it is in back-off),
    /// - an event for wishers also queues it for expansion ([`Mailboxes::expand`]), unless nobody wishes for
    ///   the item. A wish that was committed before this transaction began counts, and so does one of this
    ///   batch: both lock the item, so none can be committed in between.
    ///
    /// Events are an outbox: they are committed in the transaction of the change that they describe.
    ///
    /// # Errors
    ///
    /// On [`SaveError::Lost`] and [`SaveError::Conflict`] nothing was written; on [`SaveError::Indefinite`]
    /// this is unknown.
    async fn save(&mut self, rows: &WorkingSet) -> Result<Receipt, SaveError>;

    /// Rolls back a transaction in which nothing was changed, or whose batch has failed.
    async fn abandon(&mut self);

    /// Ends a transaction in which nothing was changed, but from which `replays` requests are answered.
    ///
    /// A replay reports an outcome that it has read. A store whose commits become visible before they are
    /// durable waits here until the outcome is durable; before that, no caller may see it.
    async fn confirm(&mut self, replays: usize) -> Result<(), SaveError> {
        let _ = replays;
        self.abandon().await;
        Ok(())
    }
}

/// What a commit changed that other parts of the market follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The feed position after the commit; `None` if no change affects search.
    pub feed_position: Option<FeedPosition>,
    /// The items that were changed without moving in the feed: most purchases move only their stock.
    pub stock_moves: Vec<ItemId>,
    /// The parties whose mailboxes got a delivery. May contain duplicates.
    pub recipients: Vec<PartyId>,
    /// Whether one of these mailboxes may have a callback, to which its deliveries are sent.
    pub has_callback: bool,
    /// Whether the commit queued an event for expansion.
    pub needs_expansion: bool,
    /// The standing of each party that was changed.
    pub standings: Vec<Standing>,
    /// The tills that were removed, whose streams must end.
    pub removed_tills: Vec<TillId>,
    /// The number of orders that were placed.
    pub orders: u64,
}

/// Whether a party may use the market, and with which tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The party that the standing is of.
    pub party: PartyId,
    /// The token epoch: tokens of an older one are invalid.
    pub epoch: i64,
    /// Whether the party is suspended.
    pub is_suspended: bool,
}

impl Receipt {
    /// Creates the receipt of a batch with what is known before it is written.
    fn of(rows: &WorkingSet) -> Self {
        let changed = rows.parties.changes().filter_map(|(_, party)| party);
        let items = rows.items.changes().map(|(id, _)| id);
        let removed = rows.tills.changes().filter(|(_, till)| till.is_none()).map(|(id, _)| id);
        Self {
            stock_moves: items.filter(|id| !rows.search_changes.contains(id)).collect(),
            standings: changed.map(Standing::of).collect(),
            removed_tills: removed.collect(),
            // Never negative: orders are not removed.
            orders: u64::try_from(rows.tally.totals.orders).unwrap_or(0),
            ..Self::default()
        }
    }
}

impl Standing {
    /// Returns the standing of a party.
    pub fn of(party: &Party) -> Self {
        Self { party: party.id, epoch: party.epoch, is_suspended: party.suspension.is_some() }
    }
}
