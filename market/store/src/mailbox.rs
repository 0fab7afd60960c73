//! Mailboxes: the pending deliveries of each party, and the leases on them.
//!
//! One deliverer at a time works on a mailbox, under a lease with an epoch. Every claim raises the epoch,
//! and the epoch is the fencing token: a settlement under an older epoch has no effect. So a deliverer that
//! hung for longer than its lease can't undo what its successor did.
//!
//! Only [`Mailboxes::expand`] must survive a power loss. It assigns sequences, and a sequence that a
//! recipient has seen must never be assigned to another event. If one of the other operations is lost, an
//! event is delivered again, and recipients drop repetitions by event id.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use souk_domain::{Callback, Event, PartyId, Role, Sequence, Timestamp};
use uuid::Uuid;

use super::{
    StoreError,
    reliability::{ByReliability, Reliability},
};

/// How soon a mailbox in back-off is attempted again at the latest after an order has come in. Long enough that a busy
/// seller with a dead callback is not called for each purchase.
pub const ORDER_PATIENCE: Duration = Duration::from_secs(60);

/// How long after its due time a mailbox without orders is no longer served behind all those with orders. Otherwise a
/// market with many orders for failing callbacks would never try the others again.
pub(crate) const OVERDUE_AFTER: Duration = Duration::from_secs(300);

/// The identity of a deliverer, such as a market's relay. Informational: the epoch is what fences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseOwner(pub Uuid);

/// The epoch of a claim: the fencing token against deliverers that have lost their lease. It only grows per
/// mailbox, and may skip values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseEpoch(pub i64);

/// An event in a mailbox, under its sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The position in the mailbox, by which deliveries are ordered and acknowledged.
    pub sequence: Sequence,
    /// The event to deliver.
    pub event: Event,
}

impl Delivery {
    /// Returns the last of these sequences whose event a later one may be merged with; `None` if there is
    /// none.
    pub(crate) fn last_mergeable(deliveries: &[Self]) -> Option<Sequence> {
        let mut from_last = deliveries.iter().rev();
        from_last.find(|delivery| delivery.event.kind.coalesces_by().is_some()).map(|last| last.sequence)
    }
}

/// A claimed mailbox, under lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The party or till that owns the mailbox.
    pub recipient: PartyId,
    /// The recipient's role, which is part of the name in its certificate.
    pub role: Role,
    /// The address to deliver to. Always present in claims by [`Mailboxes::claim_due`].
    pub callback: Option<Callback>,
    /// The fencing token for settlements under this claim.
    pub epoch: LeaseEpoch,
    /// The unnamed consumer has everything up to here. Events before it may still be in the mailbox, for
    /// [`Consumers`](crate::Consumers).
    pub acknowledged: Sequence,
    /// The highest sequence ever assigned in the mailbox.
    pub last_sequence: Sequence,
    /// The number of failed attempts since the last success.
    pub failures: u32,
    /// How many regular attempts the recipient has answered with an error since the last success.
    pub refusals: u32,
    /// When the first of these ended.
    pub refused_since: Option<Timestamp>,
    /// Whether the attempt is a probe, which comes before the regular one.
    pub is_probe: bool,
    /// How the callback has behaved until now.
    pub reliability: Reliability,
    /// The first pending deliveries, ordered by sequence.
    pub deliveries: Vec<Delivery>,
}

/// A request to claim mailboxes that are due.
#[derive(Clone, Copy, Debug)]
pub struct DueQuery {
    /// The deliverer that claims the mailboxes.
    pub owner: LeaseOwner,
    /// The current time, by which due times and leases are judged.
    pub now: Timestamp,
    /// The duration of the leases.
    pub lease: Duration,
    /// The maximum number of mailboxes to claim, for each kind of callback.
    pub mailboxes: ByReliability,
    /// The maximum number of deliveries to return for each mailbox.
    pub deliveries: usize,
}

/// The result of a delivery attempt. It ends the claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The owner of the claimed mailbox.
    pub recipient: PartyId,
    /// The epoch of the claim; if the mailbox has been claimed since, the settlement has no effect.
    pub epoch: LeaseEpoch,
    /// The result of the attempt.
    pub verdict: Verdict,
}

/// The result of a delivery attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The recipient has everything up to this sequence: remove what every consumer has, and reset the
    /// failure count. The mailbox is due again at once if more is pending.
    Delivered(Sequence),
    /// The recipient was unreachable or refused: count a failure and retry at the given time, or within
    /// [`ORDER_PATIENCE`] of an order that has come in since the attempt began. If the attempt was a probe, the
    /// failure is not counted and the mailbox stays due at its regular time.
    Failed {
        /// The time of the next attempt, computed by the relay's back-off.
        retry_at: Timestamp,
        /// A description of the failure, shown by MailboxStatus.
        reason: String,
    },
    /// The recipient was reached and answered with an error: as `Failed`, and count a refusal. That of a probe is
    /// not counted.
    Refused {
        /// The time of the next attempt, computed by the relay's back-off.
        retry_at: Timestamp,
        /// A description of the error, shown by MailboxStatus.
        reason: String,
        /// The current time.
        at: Timestamp,
    },
    /// The callback has refused this delivery too often: drop it for the unnamed consumer, keep it as a dead letter if
    /// it is about an order, and go on with the next one. Named consumers still get it. If the unnamed consumer has
    /// acknowledged it meanwhile, nothing is dropped.
    Dead {
        /// The delivery, the first that is pending.
        sequence: Sequence,
        /// Why, for operators.
        reason: String,
        /// The current time.
        at: Timestamp,
    },
    /// Nothing was attempted: release the lease and leave the mailbox as it was.
    Released,
}

/// How long undelivered events are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The retention of item updates, withdrawals and test events.
    pub updates: Duration,
    /// The retention of order events, which is much longer.
    pub orders: Duration,
}

/// The maximum number of received deliveries that are removed in one transaction. More than any batch has.
pub(crate) const REMOVAL_STEP: i64 = 1_024;

/// The maximum number of sellers whose events share an expansion step.
pub(crate) const SELLERS_A_STEP: usize = 16;

/// The result of one expansion step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    /// The parties whose mailboxes got a delivery. May contain duplicates.
    pub recipients: Vec<PartyId>,
    /// Whether more events are queued for expansion.
    pub more: bool,
}

/// The numbers of dropped deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Events about orders.
    pub orders: i64,
    /// Item updates and other events.
    pub updates: i64,
}

impl Dropped {
    /// Counts one more.
    pub(crate) fn add(&mut self, is_order: bool) {
        if is_order {
            self.orders += 1;
        } else {
            self.updates += 1;
        }
    }
}

/// The state of a mailbox, for MailboxStatus and operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailboxState {
    /// The number of deliveries that wait for the unnamed consumer. Of those in a mailbox that keeps what this consumer
    /// has, for named ones or until it is removed, at most [`MAX_COUNTED`](crate::MAX_COUNTED) are counted.
    pub pending: i64,
    /// The time of the first pending event; `None` if nothing is pending.
    pub oldest: Option<Timestamp>,
    /// The highest sequence that was delivered or acknowledged.
    pub acknowledged: i64,
    /// The highest sequence ever assigned.
    pub last_sequence: i64,
    /// The address that events are delivered to; `None` if there is none or the party is suspended.
    pub callback: Option<Callback>,
    /// The number of failed attempts since the last success.
    pub failures: u32,
    /// When the next attempt is due; `None` if nothing is pending.
    pub next_attempt: Option<Timestamp>,
    /// Why the last attempt failed; empty if it did not.
    pub last_failure: String,
    /// What was dropped.
    pub dropped: Dropped,
    /// When something was last dropped; `None` if nothing ever was.
    pub last_dropped: Option<Timestamp>,
    /// The number of dead letters.
    pub dead_letters: i64,
}

/// The pending deliveries of all parties, and the leases on them.
#[async_trait]
pub trait Mailboxes: Send + Sync {
    /// Claims mailboxes that have deliveries and a callback, are due, and are not under a live lease. Of each
    /// kind of callback, mailboxes with order events and those that are overdue by more than five minutes come first,
    /// then the longest overdue.
    async fn claim_due(&self, query: &DueQuery) -> Result<Vec<Claim>, StoreError>;

    /// Returns the earliest time at which a mailbox becomes due, by its next attempt or by the end of its
    /// lease, among the kinds of callbacks that have `slots` and the attempts before a time. `None` if there
    /// is none.
    async fn next_due(
        &self,
        slots: ByReliability,
        before: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError>;

    /// Returns the number of mailboxes that are due and not under a lease, for each kind of callback.
    async fn due(&self, now: Timestamp) -> Result<ByReliability, StoreError>;

    /// Claims one party's mailbox regardless of any lease, for Subscribe. The epoch rises, so settlements of
    /// an earlier holder have no effect from then on. The claim contains no deliveries. `None` for an
    /// unknown party.
    async fn take_over(
        &self,
        recipient: PartyId,
        owner: LeaseOwner,
        until: Timestamp,
    ) -> Result<Option<Claim>, StoreError>;

    /// Extends a lease. Returns `false` if the mailbox has been claimed again since, so that the holder must
    /// stop.
    async fn renew(
        &self,
        recipient: PartyId,
        epoch: LeaseEpoch,
        until: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Returns the pending deliveries after a sequence, in order.
    async fn pending(
        &self,
        recipient: PartyId,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError>;

    /// Returns the pending deliveries after a sequence, in order, for sending them. From then on the recipient
    /// may have received them, so a later update is not merged with them. [`Mailboxes::claim_due`] records
    /// the same for the deliveries of its claims.
    async fn hand_out(
        &self,
        recipient: PartyId,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError>;

    /// Ends claims. Returns for each whether it was still the latest; one that was not has no effect.
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<bool>, StoreError>;

    /// Moves the unnamed consumer's cursor to a sequence, regardless of any lease, removes what every consumer
    /// has, and resets the failure count. Returns the number of deliveries that wait for it.
    ///
    /// The recipient's cursor moves at once. Very many deliveries are deleted in several transactions, so that
    /// none holds up the lanes; if the caller gives up in between,
    /// [`remove_acknowledged`](Self::remove_acknowledged) deletes the rest.
    ///
    /// Has no effect if the mailbox never assigned that sequence. The recipient then remembers a sequence
    /// from before the store was restored from an older backup, and events that it has not seen would be
    /// lost.
    async fn acknowledge(&self, recipient: PartyId, through: Sequence) -> Result<i64, StoreError>;

    /// Returns the state of a mailbox; `None` for an unknown party.
    async fn state(&self, recipient: PartyId) -> Result<Option<MailboxState>, StoreError>;

    /// Makes a mailbox due now, because its owner has just been active. If the attempt fails, the back-off goes on
    /// as it was. A probe during an attempt follows that attempt. A failing callback counts as unproven. Returns
    /// whether anything is pending.
    async fn probe(&self, recipient: PartyId, now: Timestamp) -> Result<bool, StoreError>;

    /// Expands queued events for wishers into up to `limit` deliveries, in one transaction, continuing where
    /// the last step stopped.
    ///
    /// A seller's events are expanded in their order, hence those of an item too. A step is shared between up
    /// to 16 sellers in rotation, so that a seller that changes very many items does not delay the events of
    /// the others.
    ///
    /// Updates of one item coalesce: one that nobody can have received yet, because it was neither handed out
    /// nor acknowledged, is merged into the next ([`Event::merge`]), under a new sequence. The withdrawal of
    /// an item also removes it from the wishlist.
    async fn expand(&self, limit: usize) -> Result<Expansion, StoreError>;

    /// Drops up to `limit` deliveries whose retention is over, and returns how many. Those that every consumer has are
    /// left to [`remove_acknowledged`](Self::remove_acknowledged). One that the unnamed consumer has, or that was dropped
    /// for it before, counts only as missed by the named consumers that lack it, and makes no dead letter.
    async fn expire(&self, now: Timestamp, retention: Retention, limit: usize) -> Result<usize, StoreError>;

    /// Deletes up to `limit` events from before a time that were expanded and that no delivery refers to, and
    /// returns how many. Deliveries have the time of their event.
    async fn forget_events(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// Deletes up to `limit` deliveries that were acknowledged but not removed yet. Returns their number, in which a
    /// mailbox without any counts as one; 0 if nothing is left.
    async fn remove_acknowledged(&self, limit: usize) -> Result<usize, StoreError>;

    /// Deletes up to `limit` idempotency records from before a time, and returns how many. A later replay of
    /// such a request would be carried out again.
    async fn forget_requests(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;
}
