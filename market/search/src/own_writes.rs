//! Who must see what: the latest acknowledged write of each caller.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use souk_domain::PartyId;
use souk_store::FeedPosition;

/// Remembers up to [`OwnWrites::CAPACITY`] callers whose writes the index does not show yet. When there are
/// more, none is forgotten: everybody then waits for the latest of them.
#[derive(Debug, Default)]
pub(super) struct OwnWrites {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    positions: HashMap<PartyId, FeedPosition>,
    /// Where everybody waits.
    floor: FeedPosition,
}

impl OwnWrites {
    /// How many callers are told apart.
    const CAPACITY: usize = 16_384;

    /// A caller's write moved the feed to this position, while the index was at `indexed`.
    pub(super) fn remember(&self, caller: PartyId, position: FeedPosition, indexed: FeedPosition) {
        if position <= indexed {
            return;
        }
        let mut state = self.lock();
        if state.positions.len() >= Self::CAPACITY && !state.positions.contains_key(&caller) {
            state.make_room(indexed);
        }
        let latest = state.positions.entry(caller).or_default();
        *latest = position.max(*latest);
    }

    /// What the index must show before this caller may search.
    pub(super) fn due(&self, caller: PartyId, indexed: FeedPosition) -> FeedPosition {
        let mut state = self.lock();
        let own = state.positions.get(&caller).copied().unwrap_or_default();
        if own <= indexed {
            state.positions.remove(&caller);
        }
        own.max(state.floor)
    }

    /// The positions mean nothing any more.
    pub(super) fn forget(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn make_room(&mut self, indexed: FeedPosition) {
        self.positions.retain(|_, position| *position > indexed);
        // Half of the room at least, or the next calls would all come here again.
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
    fn the_latest_own_write_counts() {
        let writes = OwnWrites::default();
        writes.remember(party(1), FeedPosition(7), FeedPosition(0));
        writes.remember(party(1), FeedPosition(5), FeedPosition(0));
        assert_eq!(writes.due(party(1), FeedPosition(6)), FeedPosition(7));
        assert_eq!(writes.due(party(2), FeedPosition(6)), FeedPosition(0));
        writes.due(party(1), FeedPosition(7));
        assert!(writes.lock().positions.is_empty());
    }

    #[test]
    fn no_write_is_forgotten_when_there_are_too_many() {
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
