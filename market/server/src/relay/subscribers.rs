//! The open streams of this market, by mailbox.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use souk_domain::{ConsumerName, PartyId};
use souk_store::{LeaseEpoch, MAX_CONSUMERS};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The maximum number of streams of one mailbox at this market: those of its consumers, and as many guests.
const MAX_STREAMS: usize = 2 * MAX_CONSUMERS;

/// All open streams. Their number is bounded by [`MAX_STREAMS`] per mailbox and by the limits on connections.
#[derive(Default)]
pub(super) struct Subscribers {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    by_mailbox: HashMap<PartyId, Vec<Entry>>,
    last_number: u64,
}

struct Entry {
    /// Distinguishes the streams of this market.
    number: u64,
    owner: PartyId,
    place: Place,
    wake: Arc<Notify>,
    replaced: CancellationToken,
    expelled: CancellationToken,
    removed: CancellationToken,
}

/// Which of a mailbox's streams a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The stream of the unnamed consumer, under this claim.
    Unnamed(LeaseEpoch),
    /// The stream of a named consumer, under this lease.
    Named(ConsumerName, LeaseEpoch),
    /// A stream without a lease. There may be several.
    Guest,
}

/// A stream's view of its entry.
pub(super) struct Subscription {
    mailbox: PartyId,
    number: u64,
    /// Notified when the mailbox has new events.
    pub(super) wake: Arc<Notify>,
    /// Cancelled when a later stream of the same consumer has started.
    pub(super) replaced: CancellationToken,
    /// Cancelled when the party is suspended.
    pub(super) expelled: CancellationToken,
    /// Cancelled when the till of the mailbox is removed.
    pub(super) removed: CancellationToken,
}

/// Why a stream can't be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejected {
    /// A later stream of the same consumer is registered.
    Replaced,
    /// The mailbox has [`MAX_STREAMS`].
    TooMany,
}

impl Place {
    /// Returns the epochs of two streams of one consumer, this one's first; `None` if they are of different ones.
    fn epochs(&self, other: &Self) -> Option<(LeaseEpoch, LeaseEpoch)> {
        match (self, other) {
            (Self::Unnamed(own), Self::Unnamed(others)) => Some((*own, *others)),
            (Self::Named(name, own), Self::Named(other, others)) if name == other => Some((*own, *others)),
            _ => None,
        }
    }
}

impl Subscribers {
    /// Registers a stream, and ends an earlier one of the same consumer. It is rejected if a later one is already
    /// registered: of two streams that start concurrently, the store's epochs decide which one stays.
    pub(super) fn enter(
        &self,
        mailbox: PartyId,
        owner: PartyId,
        place: Place,
    ) -> Result<Subscription, Rejected> {
        let mut open = self.open();
        let number = open.last_number + 1;
        let entries = open.by_mailbox.entry(mailbox).or_default();
        let earlier = entries.iter().position(|entry| place.epochs(&entry.place).is_some());
        match earlier.and_then(|at| place.epochs(&entries[at].place)) {
            Some((own, other)) if other > own => return Err(Rejected::Replaced),
            None if entries.len() >= MAX_STREAMS => return Err(Rejected::TooMany),
            _ => {}
        }
        let [replaced, expelled, removed] = std::array::from_fn(|_| CancellationToken::new());
        let wake = Arc::new(Notify::new());
        if let Some(at) = earlier {
            entries.swap_remove(at).replaced.cancel();
        }
        entries.push(Entry {
            number,
            owner,
            place,
            wake: Arc::clone(&wake),
            replaced: replaced.clone(),
            expelled: expelled.clone(),
            removed: removed.clone(),
        });
        open.last_number = number;
        Ok(Subscription { mailbox, number, wake, replaced, expelled, removed })
    }

    /// Ends the streams of a party and its tills. A scan of all entries is fast enough, because suspensions are rare.
    pub(super) fn expel(&self, party: PartyId) {
        for entry in self.open().by_mailbox.values().flatten().filter(|entry| entry.owner == party) {
            entry.expelled.cancel();
        }
    }

    /// Ends the streams of a mailbox that was removed.
    pub(super) fn close(&self, mailbox: PartyId) {
        for entry in self.open().by_mailbox.get(&mailbox).into_iter().flatten() {
            entry.removed.cancel();
        }
    }

    /// Removes a stream's entry, unless a later stream has replaced it.
    pub(super) fn leave(&self, subscription: &Subscription) {
        let mut open = self.open();
        let Some(entries) = open.by_mailbox.get_mut(&subscription.mailbox) else { return };
        entries.retain(|entry| entry.number != subscription.number);
        if entries.is_empty() {
            open.by_mailbox.remove(&subscription.mailbox);
        }
    }

    /// Wakes a mailbox's streams. Returns whether the unnamed consumer has one, which stands in for the callback.
    pub(super) fn wake(&self, mailbox: PartyId) -> bool {
        let open = self.open();
        let mut is_unnamed = false;
        for entry in open.by_mailbox.get(&mailbox).into_iter().flatten() {
            entry.wake.notify_one();
            is_unnamed |= matches!(entry.place, Place::Unnamed(_));
        }
        is_unnamed
    }

    /// Ends a mailbox's unnamed stream if its claim is older than `epoch`.
    pub(super) fn overtake(&self, mailbox: PartyId, epoch: LeaseEpoch) {
        for entry in self.open().by_mailbox.get(&mailbox).into_iter().flatten() {
            if matches!(entry.place, Place::Unnamed(own) if own < epoch) {
                entry.replaced.cancel();
            }
        }
    }

    /// Returns all mailboxes with an open stream.
    pub(super) fn mailboxes(&self) -> Vec<PartyId> {
        self.open().by_mailbox.keys().copied().collect()
    }

    /// Returns the number of streams. Only a scrape of the metrics asks for it.
    pub(super) fn len(&self) -> usize {
        self.open().by_mailbox.values().map(Vec::len).sum()
    }

    /// Locks the entries. A poisoned lock is safe to use: no update under it can panic half-way.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_different_consumers_stay_open_beside_each_other() {
        let (streams, party) = (Subscribers::default(), PartyId(uuid::Uuid::from_u128(1)));
        let named = |name: &str, epoch| Place::Named(ConsumerName::parse(name).unwrap(), LeaseEpoch(epoch));
        let unnamed = streams.enter(party, party, Place::Unnamed(LeaseEpoch(5))).unwrap();
        let a = streams.enter(party, party, named("a", 1)).unwrap();
        let guest = streams.enter(party, party, Place::Guest).unwrap();
        let later = streams.enter(party, party, named("a", 2)).unwrap();
        assert!(a.replaced.is_cancelled() && !unnamed.replaced.is_cancelled());
        assert_eq!(streams.enter(party, party, named("a", 1)).err(), Some(Rejected::Replaced));
        assert_eq!(streams.len(), 3);
        streams.leave(&a);
        assert_eq!(streams.len(), 3, "its place belongs to the later stream");
        streams.leave(&unnamed);
        assert!(!streams.wake(party), "the callback is to be called again");
        streams.leave(&guest);
        streams.leave(&later);
        assert_eq!((streams.len(), streams.mailboxes()), (0, Vec::new()));
    }

    #[test]
    fn number_of_streams_of_a_mailbox_is_bounded() {
        let (streams, party) = (Subscribers::default(), PartyId(uuid::Uuid::from_u128(1)));
        for _ in 0..MAX_STREAMS {
            streams.enter(party, party, Place::Guest).unwrap();
        }
        assert_eq!(streams.enter(party, party, Place::Guest).err(), Some(Rejected::TooMany));
    }
}
