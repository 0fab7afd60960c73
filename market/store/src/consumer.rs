//! Consumers: the programs of one party that each receive every event of its mailbox.
//!
//! A mailbox has one *unnamed* consumer, whose cursor and lease are in the mailbox itself ([`Mailboxes`]):
//! the party's callback, or a stream that gives no name. All others have names, and a cursor and a lease each.
//! They never take the mailbox's own lease, so the callback is called while they stream.
//!
//! An event is removed when every consumer has acknowledged it, or when its retention is over. The unnamed
//! consumer counts only while the party has a callback, or if it had an unnamed stream within
//! [`CONSUMER_RETENTION`]. With no consumer at all, events wait for the first one.
//!
//! A name has one stream at a time. A second one with another `holder` is a *guest*: it has no lease, so it
//! neither moves the cursor nor holds events.
//!
//! [`Mailboxes`]: crate::Mailboxes

use std::time::Duration;

use async_trait::async_trait;
use souk_domain::{ConsumerName, PartyId, Sequence, Timestamp};
use uuid::Uuid;

use super::{LeaseEpoch, StoreError};

/// The maximum number of consumers of a mailbox, including the unnamed one, whose place is always reserved.
pub const MAX_CONSUMERS: usize = 8;

/// How long a consumer is kept after it was last seen.
pub const CONSUMER_RETENTION: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Returns the time after which an unnamed stream must have been open for the unnamed consumer to count. A mailbox that
/// never had one has the time 0.
pub(crate) fn unnamed_since(now: Timestamp) -> Timestamp {
    now.minus(CONSUMER_RETENTION).max(Timestamp(0))
}

/// The highest number of pending events that is counted for a named consumer. Counting more would cost more
/// than the acknowledgement that reports it.
pub const MAX_COUNTED: usize = 10_000;

/// A stream that asks for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerStream {
    /// The mailbox.
    pub recipient: PartyId,
    /// The name under which the stream continues.
    pub name: ConsumerName,
    /// The client that opens it. It may take over the name's lease from an earlier stream of its own.
    pub holder: Uuid,
}

/// The outcome of opening a stream under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerOpening {
    /// The stream has the name's lease.
    Held {
        /// The fencing token of the lease.
        epoch: LeaseEpoch,
        /// Everything up to here has been acknowledged under the name.
        acknowledged: Sequence,
        /// The highest sequence ever assigned in the mailbox.
        last_sequence: Sequence,
    },
    /// Another client has the lease.
    Guest {
        /// The highest sequence ever assigned in the mailbox.
        last_sequence: Sequence,
    },
    /// The mailbox has [`MAX_CONSUMERS`] already; these are the names.
    Full(Vec<ConsumerName>),
    /// There is no such mailbox.
    NoMailbox,
}

/// The outcome of removing a named consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerRemoval {
    /// It is removed, and what only it had not acknowledged no longer waits.
    Removed,
    /// A stream has its lease, so it stays.
    Connected,
    /// The mailbox has no consumer with the name.
    Unknown,
}

/// The state of a named consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerState {
    /// The name.
    pub name: ConsumerName,
    /// Everything up to here has been acknowledged under the name.
    pub acknowledged: i64,
    /// When a stream was last open under the name, or an event acknowledged. Up to one lease in the future
    /// while a stream is open.
    pub seen_at: Timestamp,
    /// The end of the lease of its stream, 0 if there is none.
    pub lease_until: Timestamp,
    /// The number of events that wait for it, at most [`MAX_COUNTED`].
    pub pending: i64,
}

/// The named consumers of all mailboxes.
#[async_trait]
pub trait Consumers: Send + Sync {
    /// Opens a stream under a name until `until`. A new name starts with everything that is in the mailbox.
    /// Its creation survives a power loss: otherwise another consumer's acknowledgement could remove events
    /// that it was already promised.
    async fn open_consumer(
        &self,
        stream: &ConsumerStream,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<ConsumerOpening, StoreError>;

    /// Extends the lease of a name. Returns `false` if another stream has it.
    async fn renew_consumer(
        &self,
        stream: &ConsumerStream,
        epoch: LeaseEpoch,
        until: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Ends the lease of a name, unless another stream has it.
    async fn release_consumer(&self, stream: &ConsumerStream, epoch: LeaseEpoch) -> Result<(), StoreError>;

    /// Moves a name's cursor forward to a sequence, and removes what every consumer has. A sequence that the
    /// mailbox never assigned has no effect. Returns the number of events that still wait for this consumer,
    /// at most [`MAX_COUNTED`]; `None` if the name is unknown.
    async fn acknowledge_consumer(
        &self,
        recipient: PartyId,
        name: &ConsumerName,
        through: Sequence,
        now: Timestamp,
    ) -> Result<Option<i64>, StoreError>;

    /// Removes a name, unless a stream has its lease. A power loss may undo the removal.
    async fn remove_consumer(
        &self,
        recipient: PartyId,
        name: &ConsumerName,
        now: Timestamp,
    ) -> Result<ConsumerRemoval, StoreError>;

    /// Returns a mailbox's named consumers, ordered by name.
    async fn consumers(&self, recipient: PartyId) -> Result<Vec<ConsumerState>, StoreError>;

    /// Drops up to `limit` names that were last seen before a time, and returns how many. What only they had not
    /// acknowledged is removed with the next acknowledgement of another consumer.
    async fn drop_consumers(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;
}
