//! Where everything is kept: the traits that a back end implements.
//!
//! A back end is load, save, queries and mailboxes, and no rules. Three roles, because three parts of the
//! market use it in different ways:
//!
//! - [`Lane`]: the write path. One transaction per batch of commands: [`Lane::load`] what the batch names,
//!   let the rules work on it, [`Lane::save`] what they changed.
//! - [`Reads`]: queries. They never wait for a writer.
//! - [`Mailboxes`]: deliveries that are waiting, and who is at work on them (see `relay`).
//! - [`Tracks`]: where rides have been.
//!
//! Every back end passes the same suite, `market/tests/it/store`.

pub mod audit;
mod error;
mod mailbox;
pub mod memory;
pub mod postgres;
mod query;
mod replicas;
pub mod sqlite;
mod track;

use std::sync::Arc;

use async_trait::async_trait;
use souk_domain::{Keys, Party, PartyId, TillId, WorkingSet};

pub use error::{SaveError, StoreError};
pub use mailbox::{
    Claim, Delivery, DueQuery, Expansion, LeaseEpoch, LeaseOwner, MailboxState, Mailboxes, Retention,
    Settlement, Verdict,
};
pub use query::{FeedEntry, FeedPosition, OrderQuery, OrdersOf, Reads};

pub use replicas::{Hint, Look, Replicas};
pub use track::{Fix, TrackPoint, Tracks};

/// A store, opened: one object for each role.
pub struct Store {
    /// The write path; one lane for each writer that the back end can use side by side.
    pub lanes: Vec<Box<dyn Lane>>,
    /// Queries.
    pub reads: Arc<dyn Reads>,
    /// Deliveries.
    pub mailboxes: Arc<dyn Mailboxes>,
    /// Where rides have been.
    pub tracks: Arc<dyn Tracks>,
    /// The other markets, where a store can be shared.
    pub replicas: Option<Arc<dyn Replicas>>,
}

/// One writer. Its calls come in turn: `load`, then `save` or `abandon`.
#[async_trait]
pub trait Lane: Send {
    /// Begins a transaction and loads the rows that `keys` names, locked against other writers in key
    /// order, together with the sellers of the items, the items of the orders (and their sellers). Sets
    /// numbers aside for the new rows. Rows that don't exist are left out.
    ///
    /// On an error the transaction is over. Rows that other writers hold are waited for, for a bounded time; then it
    /// is [`StoreError::Held`].
    async fn load(&mut self, keys: &Keys) -> Result<WorkingSet, StoreError>;

    /// Which of the rows that `keys` names other writers hold just now, by all keys that name them. Asked between
    /// transactions, after [`StoreError::Held`]; where there are no other writers, none.
    async fn held(&mut self, keys: &Keys) -> Result<Keys, StoreError> {
        let _ = keys;
        Ok(Keys::default())
    }

    /// Writes all that the rules have changed, in bulk, and commits it durably. Saving
    ///
    /// - a party also opens its mailbox, points it at the party's callback and makes it due at once,
    /// - an item in `search_changes` also gives it the next [`FeedPosition`],
    /// - an event for a party also puts a delivery into its mailbox, under the next sequence, and makes
    ///   the mailbox due (unless failures hold it back),
    /// - an event for wishers also leaves it to be expanded ([`Mailboxes::expand`]).
    ///
    /// On [`SaveError::Lost`] and [`SaveError::Conflict`] nothing was written; on [`SaveError::Indefinite`] that
    /// is not known.
    async fn save(&mut self, rows: &WorkingSet) -> Result<Receipt, SaveError>;

    /// Ends a transaction in which nothing was changed, or whose batch has failed.
    async fn abandon(&mut self);

    /// Ends a transaction in which nothing was changed, but out of which `replays` requests are answered again.
    /// A store whose commits can be seen before they are durable waits here until what was read is; until
    /// then nobody may be told of it.
    async fn confirm(&mut self, replays: usize) -> Result<(), SaveError> {
        let _ = replays;
        self.abandon().await;
        Ok(())
    }
}

/// What others may want to know of a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The feed position after the commit, when a searchable item changed.
    pub feed_position: Option<FeedPosition>,
    /// Whose mailboxes got a delivery. May name a party twice.
    pub recipients: Vec<PartyId>,
    /// Whether an event for wishers waits to be expanded.
    pub needs_expansion: bool,
    /// How the parties stand that were changed.
    pub standings: Vec<Standing>,
    /// Tills that are gone.
    pub removed_tills: Vec<TillId>,
}

/// Whether a party may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The party.
    pub party: PartyId,
    /// Its tokens of an older epoch are void.
    pub epoch: i64,
    /// Whether it is shut out.
    pub is_suspended: bool,
}

impl Receipt {
    /// Of a batch, with what is known before it is written.
    fn of(rows: &WorkingSet) -> Self {
        let changed = rows.parties.changes().filter_map(|(_, party)| party);
        let removed = rows.tills.changes().filter(|(_, till)| till.is_none()).map(|(id, _)| id);
        Self {
            standings: changed.map(Standing::of).collect(),
            removed_tills: removed.collect(),
            ..Self::default()
        }
    }
}

impl Standing {
    /// Of a party as it is.
    pub fn of(party: &Party) -> Self {
        Self { party: party.id, epoch: party.epoch, is_suspended: party.suspension.is_some() }
    }
}
