//! The open streams of this market, by mailbox.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use souk_domain::PartyId;
use souk_store::LeaseEpoch;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// One entry per mailbox with an open stream. The number of entries is bounded by the limits on connections.
#[derive(Default)]
pub(super) struct Subscribers {
    open: Mutex<HashMap<PartyId, Entry>>,
}

struct Entry {
    owner: PartyId,
    epoch: LeaseEpoch,
    wake: Arc<Notify>,
    replaced: CancellationToken,
    expelled: CancellationToken,
    removed: CancellationToken,
}

/// A stream's view of its entry.
pub(super) struct Subscription {
    mailbox: PartyId,
    epoch: LeaseEpoch,
    /// Notified when the mailbox has new events.
    pub(super) wake: Arc<Notify>,
    /// Cancelled when a later stream of the same mailbox has started.
    pub(super) replaced: CancellationToken,
    /// Cancelled when the party is suspended.
    pub(super) expelled: CancellationToken,
    /// Cancelled when the till of the mailbox is removed.
    pub(super) removed: CancellationToken,
}

impl Subscribers {
    /// Registers the stream of a claim, and ends the stream of an earlier claim of the same mailbox. Returns `None`
    /// if a later claim is already registered: of two streams that start concurrently, the store's epochs decide
    /// which one stays.
    pub(super) fn enter(&self, mailbox: PartyId, owner: PartyId, epoch: LeaseEpoch) -> Option<Subscription> {
        let mut open = self.open();
        if open.get(&mailbox).is_some_and(|other| other.epoch > epoch) {
            return None;
        }
        let [replaced, expelled, removed] = std::array::from_fn(|_| CancellationToken::new());
        let wake = Arc::new(Notify::new());
        let entry = Entry {
            owner,
            epoch,
            wake: Arc::clone(&wake),
            replaced: replaced.clone(),
            expelled: expelled.clone(),
            removed: removed.clone(),
        };
        if let Some(earlier) = open.insert(mailbox, entry) {
            earlier.replaced.cancel();
        }
        Some(Subscription { mailbox, epoch, wake, replaced, expelled, removed })
    }

    /// Ends the streams of a party and its tills. A scan of all entries is fast enough, because suspensions are rare.
    pub(super) fn expel(&self, party: PartyId) {
        for entry in self.open().values().filter(|entry| entry.owner == party) {
            entry.expelled.cancel();
        }
    }

    /// Ends the stream of a mailbox that was removed.
    pub(super) fn close(&self, mailbox: PartyId) {
        if let Some(entry) = self.open().get(&mailbox) {
            entry.removed.cancel();
        }
    }

    /// Removes a stream's entry, unless a later stream has replaced it.
    pub(super) fn leave(&self, subscription: &Subscription) {
        let mut open = self.open();
        if open.get(&subscription.mailbox).is_some_and(|entry| entry.epoch == subscription.epoch) {
            open.remove(&subscription.mailbox);
        }
    }

    /// Wakes a mailbox's stream. Returns whether it has one.
    pub(super) fn wake(&self, mailbox: PartyId) -> bool {
        match self.open().get(&mailbox) {
            Some(entry) => {
                entry.wake.notify_one();
                true
            }
            None => false,
        }
    }

    /// Ends a mailbox's stream if its claim is older than `epoch`.
    pub(super) fn overtake(&self, mailbox: PartyId, epoch: LeaseEpoch) {
        if let Some(entry) = self.open().get(&mailbox).filter(|entry| entry.epoch < epoch) {
            entry.replaced.cancel();
        }
    }

    /// Returns all mailboxes with an open stream.
    pub(super) fn mailboxes(&self) -> Vec<PartyId> {
        self.open().keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.open().len()
    }

    /// Locks the entries. A poisoned lock is safe to use: no update under it can panic half-way.
    fn open(&self) -> MutexGuard<'_, HashMap<PartyId, Entry>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
