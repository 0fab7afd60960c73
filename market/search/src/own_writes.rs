//! Read-your-writes: the feed position of each caller's latest acknowledged write.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use souk_domain::PartyId;
use souk_store::FeedPosition;

/// Remembers up to [`OwnWrites::CAPACITY`] callers whose writes are not indexed yet.
///
/// If there are more, no write may be forgotten, so the positions are merged into one that every caller
/// waits for: memory is bounded, and the guarantee holds at the price of longer waits.
#[derive(Debug, Default)]
pub(super) struct OwnWrites {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    positions: HashMap<PartyId, FeedPosition>,
    /// The position that every caller waits for; 0 unless there were too many callers.
    floor: FeedPosition,
}

impl OwnWrites {
    /// The maximum number of callers that are tracked individually.
    const CAPACITY: usize = 16_384;

    /// Records that a caller's write has moved the feed to a position, while the index was at `indexed`.
    pub(super) fn remember(&self, caller: PartyId, position: FeedPosition, indexed: FeedPosition) {
        if position <= indexed {
            // The index was faster than the acknowledgement, as it often is for a quiet market.
            return;
        }
        let mut state = self.lock();
        if state.positions.len() >= Self::CAPACITY && !state.positions.contains_key(&caller) {
            state.make_room(indexed);
        }
        // The highest position counts: concurrent writes of a caller may be acknowledged in any order.
        let latest = state.positions.entry(caller).or_default();
        *latest = position.max(*latest);
    }

    /// Returns the position that the index must reach before this caller may search.
    pub(super) fn due(&self, caller: PartyId, indexed: FeedPosition) -> FeedPosition {
        let mut state = self.lock();
        let own = state.positions.get(&caller).copied().unwrap_or_default();
        if own <= indexed {
            // Searches free the memory themselves; no timer is needed.
            state.positions.remove(&caller);
        }
        own.max(state.floor)
    }

    /// Discards all positions, because the feed was set back and they mean nothing any more.
    pub(super) fn forget(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned lock is safe to use: no update under it can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn make_room(&mut self, indexed: FeedPosition) {
        // Positions that are indexed by now cost nothing to forget, so they go first.
        self.positions.retain(|_, position| *position > indexed);
        // Free at least half of the capacity, or each of the next calls would scan the map again.
        if self.positions.len() > OwnWrites::CAPACITY / 2 {
            let latest = self.positions.drain().map(|(_, position)| position).max();
            self.floor = self.floor.max(latest.unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn party(number: usize) -> PartyId {
        PartyId(Uuid::from_u128(number as u128))
    }

    #[test]
    fn latest_own_write_counts() {
        let writes = OwnWrites::default();
        writes.remember(party(1), FeedPosition(7), FeedPosition(0));
        writes.remember(party(1), FeedPosition(5), FeedPosition(0));
        assert_eq!(writes.due(party(1), FeedPosition(6)), FeedPosition(7));
        assert_eq!(writes.due(party(2), FeedPosition(6)), FeedPosition(0));
        writes.due(party(1), FeedPosition(7));
        assert!(writes.lock().positions.is_empty());
    }

    #[test]
    fn no_write_is_forgotten_if_there_are_too_many() {
        let writes = OwnWrites::default();
        let count = OwnWrites::CAPACITY + 10;
        for number in 1..=count {
            writes.remember(party(number), FeedPosition(number as i64), FeedPosition(0));
        }
        assert!(writes.lock().positions.len() <= OwnWrites::CAPACITY);
        for number in 1..=count {
            assert!(writes.due(party(number), FeedPosition(0)) >= FeedPosition(number as i64));
        }
    }
}
