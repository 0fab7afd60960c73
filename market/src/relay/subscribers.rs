//! Who follows its mailbox by a stream of this market just now.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::domain::PartyId;

/// One entry for each party with an open stream; bounded by the connections that the market takes.
#[derive(Default)]
pub(super) struct Subscribers {
    open: Mutex<HashMap<PartyId, Entry>>,
    numbers: AtomicU64,
}

struct Entry {
    number: u64,
    wake: Arc<Notify>,
    replaced: CancellationToken,
}

/// A stream's own entry.
pub(super) struct Subscription {
    party: PartyId,
    number: u64,
    /// Something new waits.
    pub(super) wake: Arc<Notify>,
    /// A later stream of the party has begun.
    pub(super) replaced: CancellationToken,
}

impl Subscribers {
    /// Enters a stream, and ends an earlier one of the same party.
    pub(super) fn enter(&self, party: PartyId) -> Subscription {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (wake, replaced) = (Arc::new(Notify::new()), CancellationToken::new());
        let entry = Entry { number, wake: Arc::clone(&wake), replaced: replaced.clone() };
        if let Some(earlier) = self.open().insert(party, entry) {
            earlier.replaced.cancel();
        }
        Subscription { party, number, wake, replaced }
    }

    /// Takes a stream out, unless a later one has taken its place.
    pub(super) fn leave(&self, subscription: &Subscription) {
        let mut open = self.open();
        if open.get(&subscription.party).is_some_and(|entry| entry.number == subscription.number) {
            open.remove(&subscription.party);
        }
    }

    /// Wakes a party's stream; answers whether it has one.
    pub(super) fn wake(&self, party: PartyId) -> bool {
        match self.open().get(&party) {
            Some(entry) => {
                entry.wake.notify_one();
                true
            }
            None => false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.open().len()
    }

    /// Nothing that is done under the lock can panic half-way.
    fn open(&self) -> MutexGuard<'_, HashMap<PartyId, Entry>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
