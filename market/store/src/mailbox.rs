//! Mailboxes: what waits for each party, and who is at work on delivering it.
//!
//! A mailbox is worked on by one deliverer at a time, under a lease with an epoch. Every claim raises the
//! epoch; what is settled under an older epoch is refused. So a deliverer that hung for longer than its
//! lease can't undo what its successor did. Only [`Mailboxes::expand`] must survive a power loss, because it
//! gives sequences out, and a sequence that a recipient has seen must not be given to another event; of the
//! others a lost one only means that something is delivered again.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use souk_domain::{Callback, Event, PartyId, Role, Sequence, Timestamp};
use uuid::Uuid;

use super::StoreError;

/// One process that delivers, such as a market's relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseOwner(pub Uuid);

/// Counts the claims of a mailbox; the fence against deliverers that lost their lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseEpoch(pub i64);

/// An event in a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its place there.
    pub sequence: Sequence,
    /// The event.
    pub event: Event,
}

/// A mailbox under lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose mailbox.
    pub recipient: PartyId,
    /// The recipient's role, which is part of its certificate's name.
    pub role: Role,
    /// Where to deliver to. Always there in claims by [`Mailboxes::claim_due`].
    pub callback: Option<Callback>,
    /// The fence for what is settled under this claim.
    pub epoch: LeaseEpoch,
    /// The highest sequence ever given.
    pub last_sequence: Sequence,
    /// How many attempts in a row have failed before.
    pub failures: u32,
    /// The first deliveries that wait, in the order of their sequences.
    pub deliveries: Vec<Delivery>,
}

/// Asks for mailboxes that are due.
#[derive(Clone, Copy, Debug)]
pub struct DueQuery {
    /// Who claims.
    pub owner: LeaseOwner,
    /// The time.
    pub now: Timestamp,
    /// How long the claims hold.
    pub lease: Duration,
    /// How many mailboxes at most.
    pub mailboxes: usize,
    /// How many deliveries of each at most.
    pub deliveries: usize,
}

/// How an attempt under a claim went. Ends the claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Whose mailbox.
    pub recipient: PartyId,
    /// The claim's fence.
    pub epoch: LeaseEpoch,
    /// How it went.
    pub verdict: Verdict,
}

/// How an attempt went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The recipient has everything up to this sequence: take it out of the mailbox and forget the
    /// failures. The mailbox is due again at once if more waits.
    Delivered(Sequence),
    /// The recipient could not be reached or refused: count a failure and try again at the time given.
    Failed {
        /// When to try again.
        retry_at: Timestamp,
        /// What went wrong, in words; kept for MailboxStatus.
        reason: String,
    },
    /// Nothing was tried: give the mailbox back as it was.
    Released,
}

/// How long what is not delivered is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Updates and withdrawals of items, and test events.
    pub updates: Duration,
    /// Orders.
    pub orders: Duration,
}

/// What one round of expanding did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    /// Whose mailboxes got a delivery.
    pub recipients: Vec<PartyId>,
    /// Whether there is more to expand.
    pub more: bool,
}

/// How a mailbox stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailboxState {
    /// How many deliveries wait.
    pub pending: i64,
    /// When the oldest of them happened.
    pub oldest: Option<Timestamp>,
    /// The highest sequence that was taken out as delivered.
    pub acknowledged: i64,
    /// The highest sequence ever given.
    pub last_sequence: i64,
    /// Where it is delivered to.
    pub callback: Option<Callback>,
    /// How many attempts in a row have failed.
    pub failures: u32,
    /// When the next attempt is due, if something waits and there is a callback.
    pub next_attempt: Option<Timestamp>,
    /// Why the last attempt failed; empty when it did not.
    pub last_failure: String,
}

/// Deliveries that wait, and the leases on them.
#[async_trait]
pub trait Mailboxes: Send + Sync {
    /// Claims mailboxes that have deliveries, a callback, a due time that has come and no live lease;
    /// longest due first.
    async fn claim_due(&self, query: &DueQuery) -> Result<Vec<Claim>, StoreError>;

    /// The earliest time at which a mailbox will be due that is not now: waiting for its next attempt or
    /// for the end of a lease. `None` when nothing waits.
    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Claims one party's mailbox, whoever holds it: the epoch rises, and an earlier holder's settlements
    /// are void from then on. For Subscribe. Comes without deliveries; `None` for an unknown party.
    async fn take_over(
        &self,
        recipient: PartyId,
        owner: LeaseOwner,
        until: Timestamp,
    ) -> Result<Option<Claim>, StoreError>;

    /// Lengthens a lease; `false` when the claim is no longer the latest.
    async fn renew(
        &self,
        recipient: PartyId,
        epoch: LeaseEpoch,
        until: Timestamp,
    ) -> Result<bool, StoreError>;

    /// What waits after a sequence, in order.
    async fn pending(
        &self,
        recipient: PartyId,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError>;

    /// Ends claims. Answers for each whether it still held; one that did not has no effect.
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<bool>, StoreError>;

    /// Takes everything up to a sequence out of a mailbox, whoever holds it, and forgets its failures.
    /// Nothing, if the mailbox never gave that sequence out: then it is not one of this mailbox's, as after
    /// the store was restored from an older copy. Answers how many deliveries still wait.
    async fn acknowledge(&self, recipient: PartyId, through: Sequence) -> Result<i64, StoreError>;

    /// How a mailbox stands; `None` for an unknown party.
    async fn state(&self, recipient: PartyId) -> Result<Option<MailboxState>, StoreError>;

    /// Makes a mailbox due now although its last attempt failed: its owner has just shown signs of life.
    /// Answers whether something waits there.
    async fn probe(&self, recipient: PartyId, now: Timestamp) -> Result<bool, StoreError>;

    /// Turns the oldest event for wishers into up to `limit` deliveries. Of several updates of one item
    /// that wait in one mailbox only the last is kept, under its new sequence. An item's withdrawal also
    /// takes it off the wishlist. Resumes where an earlier round stopped.
    async fn expand(&self, limit: usize) -> Result<Expansion, StoreError>;

    /// Drops up to `limit` deliveries that waited for longer than they are kept, and answers how many.
    async fn expire(&self, now: Timestamp, retention: Retention, limit: usize) -> Result<usize, StoreError>;

    /// Forgets up to `limit` requests that were carried out before a time, and answers how many.
    async fn forget_requests(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;
}
