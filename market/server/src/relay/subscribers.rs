//! Who follows its mailbox by a stream of this market just now.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use souk_domain::PartyId;
use souk_store::LeaseEpoch;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// One entry for each mailbox with an open stream; bounded by the connections that the market takes.
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

/// A stream's own entry.
pub(super) struct Subscription {
    mailbox: PartyId,
    epoch: LeaseEpoch,
    /// Something new waits.
    pub(super) wake: Arc<Notify>,
    /// A later stream of the party has begun.
    pub(super) replaced: CancellationToken,
    /// The party was shut out.
    pub(super) expelled: CancellationToken,
    /// The mailbox is nobody's any more.
    pub(super) removed: CancellationToken,
}

impl Subscribers {
    /// Enters the stream of a claim, and ends the one of an earlier claim of the same mailbox. `None` when a
    /// later claim has entered already: of two streams that begin together, one may be overtaken.
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

    /// Ends a party's streams for good, those of its tills too. Rare enough to look at all of them.
    pub(super) fn expel(&self, party: PartyId) {
        for entry in self.open().values().filter(|entry| entry.owner == party) {
            entry.expelled.cancel();
        }
    }

    /// Ends the stream of a mailbox that is gone.
    pub(super) fn close(&self, mailbox: PartyId) {
        if let Some(entry) = self.open().get(&mailbox) {
            entry.removed.cancel();
        }
    }

    /// Takes a stream out, unless a later one has taken its place.
    pub(super) fn leave(&self, subscription: &Subscription) {
        let mut open = self.open();
        if open.get(&subscription.mailbox).is_some_and(|entry| entry.epoch == subscription.epoch) {
            open.remove(&subscription.mailbox);
        }
    }

    /// Wakes a mailbox's stream; answers whether it has one.
    pub(super) fn wake(&self, mailbox: PartyId) -> bool {
        match self.open().get(&mailbox) {
            Some(entry) => {
                entry.wake.notify_one();
                true
            }
            None => false,
        }
    }

    /// Ends a mailbox's stream if it is of an older claim than this.
    pub(super) fn overtake(&self, mailbox: PartyId, epoch: LeaseEpoch) {
        if let Some(entry) = self.open().get(&mailbox).filter(|entry| entry.epoch < epoch) {
            entry.replaced.cancel();
        }
    }

    /// All mailboxes with a stream.
    pub(super) fn mailboxes(&self) -> Vec<PartyId> {
        self.open().keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.open().len()
    }

    /// Nothing that is done under the lock can panic half-way.
    fn open(&self) -> MutexGuard<'_, HashMap<PartyId, Entry>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
