//! What waits in a store, for metrics.

use std::sync::Arc;

use souk_domain::Timestamp;

/// The most rows of a kind that are counted, because counting takes time in proportion to the number. A figure
/// of this many means "at least".
pub const MOST_COUNTED: i64 = 100_000;

/// The numbers of rows that wait, each at most [`MOST_COUNTED`], and since when the oldest do. All times are
/// steady.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlogs {
    /// Events for wishers that are to be expanded into deliveries.
    pub fan_outs: i64,
    /// The time of the oldest of them.
    pub oldest_fan_out: Option<Timestamp>,
    /// Deliveries of order events.
    pub orders: i64,
    /// The time of the oldest of them.
    pub oldest_order: Option<Timestamp>,
    /// Deliveries of item updates and other events.
    pub updates: i64,
    /// The time of the oldest of them.
    pub oldest_update: Option<Timestamp>,
    /// Since when a mailbox with a proven callback has been due and under no lease.
    pub overdue_since: Option<Timestamp>,
    /// Dropped order events that are kept for redelivery.
    pub dead_letters: i64,
    /// Named consumers.
    pub consumers: i64,
    /// Entries of the audit log that upkeep has yet to compress or to chain.
    pub audit_entries: i64,
}

/// A figure that is read when it is asked for.
pub type Reading = Arc<dyn Fn() -> usize + Send + Sync>;

/// The queues for the connections of a store. They don't keep the connections open.
#[derive(Clone)]
pub struct StoreQueues {
    /// The number of queries by key that wait for a connection.
    pub reads: Reading,
    /// The number of lists and sums that wait for a connection.
    pub reports: Reading,
    /// The number of mailbox operations that wait for a connection.
    pub mailboxes: Reading,
    /// The number of connections to a database server in use for either; `None` for a store in a file.
    pub sessions: Option<Reading>,
}
