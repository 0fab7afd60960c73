//! Dead letters, and the counts of what mailboxes have dropped.
//!
//! A delivery is dropped when its retention is over before every consumer has it, or when the callback has refused it
//! again and again. Dropped order events become dead letters: they are kept for [`DEAD_LETTER_RETENTION`], and an
//! operator can redeliver them.
//!
//! The mailbox's counts and dead letters are the unnamed consumer's: what it has received or was dropped for it, is not
//! dropped again when it expires while named consumers still lack it. It then counts as missed by these only. In a
//! mailbox without an unnamed consumer, everything that expires is dropped for it.

use std::time::Duration;

use async_trait::async_trait;
use souk_domain::{ConsumerName, DeadLetter, DeadLetterId, PartyId, Role, Timestamp};

use super::{Dropped, MailboxState, StoreError};

/// How long dead letters are kept.
pub const DEAD_LETTER_RETENTION: Duration = Duration::from_secs(90 * 24 * 3_600);

/// The maximum number of dead letters of a mailbox. Of more, the oldest are deleted.
pub const MAX_DEAD_LETTERS: usize = 1_000;

/// Why a delivery whose retention is over was dropped.
pub(crate) const EXPIRED: &str = "it waited for longer than its retention";

/// A mailbox, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxRecord {
    /// The party or till that owns it.
    pub owner: PartyId,
    /// The owner's role.
    pub role: Role,
    /// Its state.
    pub state: MailboxState,
}

/// What a consumer has missed because it was dropped.
///
/// An answer may be lost, so reading these numbers does not reset them. The store counts from the consumer's creation, and
/// the consumer confirms a total, so repeated and late confirmations are harmless.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// What the consumer has not confirmed.
    pub news: Dropped,
    /// Everything since the consumer was created.
    pub total: Dropped,
}

impl Missed {
    pub(crate) fn since(confirmed: Dropped, total: Dropped) -> Self {
        // An older market on the same database resets the total.
        let news = Dropped {
            orders: (total.orders - confirmed.orders).max(0),
            updates: (total.updates - confirmed.updates).max(0),
        };
        Self { news, total }
    }
}

/// A page of dead letters.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeadLetterQuery {
    /// Only those of this mailbox.
    pub recipient: Option<PartyId>,
    /// Only those after this one.
    pub after: Option<DeadLetterId>,
    /// The maximum number to return.
    pub limit: usize,
}

/// The dead letters and drops of all mailboxes.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Returns dead letters, ordered by number.
    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError>;

    /// Returns the dead letters with these numbers, ordered by number. Missing ones are left out.
    async fn dead_letters_by_id(&self, ids: &[DeadLetterId]) -> Result<Vec<DeadLetter>, StoreError>;

    /// Deletes up to `limit` dead letters from before a time, and returns how many.
    async fn forget_dead_letters(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// Returns what a consumer has missed because it was dropped. `None` stands for the unnamed consumer.
    async fn missed(&self, recipient: PartyId, consumer: Option<&ConsumerName>)
    -> Result<Missed, StoreError>;

    /// Records that a consumer has received a total that [`Self::missed`] returned. A total from before the store was
    /// restored from an older backup, or before the consumer was dropped, has no effect.
    async fn confirm_missed(
        &self,
        recipient: PartyId,
        consumer: Option<&ConsumerName>,
        total: Dropped,
    ) -> Result<(), StoreError>;

    /// Returns mailboxes, ordered by owner, after one of them.
    async fn mailboxes(
        &self,
        after: Option<PartyId>,
        with_backlog: bool,
        limit: usize,
    ) -> Result<Vec<MailboxRecord>, StoreError>;
}
