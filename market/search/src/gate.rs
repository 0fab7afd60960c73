//! Admission of searches: bounds how many are in progress, in fair shares, so that overload is refused at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use souk_domain::PartyId;

use super::SearchError;

/// The maximum number of searches in progress, including those that wait.
const MAX_SEARCHES: usize = 1_024;

/// The limit. It is separate from the threads, because a search that waits for the index to catch up must not occupy
/// one.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<Mutex<Places>>);

#[derive(Default)]
struct Places {
    taken: usize,
    /// By party. Parties without any have no entry, so the map stays small.
    by_party: HashMap<PartyId, usize>,
}

/// The place of a search, released on drop.
pub(super) struct Place {
    gate: Gate,
    party: PartyId,
}

impl Gate {
    /// Admits a search, or refuses it immediately.
    ///
    /// A party may have as many searches in progress as there are places left (Choudhury and Hahne, 1998): one party
    /// alone gets half of them, and however many parties ask for as much as they can get, some are left for others.
    pub(super) fn enter(&self, party: PartyId) -> Result<Place, SearchError> {
        let mut places = self.lock();
        let free = MAX_SEARCHES - places.taken;
        if places.by_party.get(&party).copied().unwrap_or_default() >= free {
            return Err(SearchError::Overloaded);
        }
        *places.by_party.entry(party).or_default() += 1;
        places.taken += 1;
        Ok(Place { gate: self.clone(), party })
    }

    /// Returns the number of searches in progress, including those that wait.
    pub(super) fn taken(&self) -> usize {
        self.lock().taken
    }

    /// Locks the counts. A poisoned lock is safe to use: no update under it can panic half-way.
    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.gate.lock();
        places.taken -= 1;
        if let Some(count) = places.by_party.get_mut(&self.party) {
            *count -= 1;
            if *count == 0 {
                places.by_party.remove(&self.party);
            }
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

    /// Takes places for a party until it is refused.
    fn all_of(gate: &Gate, number: usize) -> Vec<Place> {
        std::iter::from_fn(|| gate.enter(party(number)).ok()).collect()
    }

    #[test]
    fn places_are_shared_fairly() {
        let gate = Gate::default();
        let greedy = all_of(&gate, 1);
        assert_eq!(greedy.len(), MAX_SEARCHES / 2, "one party gets half");
        let more: Vec<_> = (2..9).map(|number| all_of(&gate, number)).collect();
        assert!(more.iter().all(|places| !places.is_empty()));
        assert!(gate.enter(party(9)).is_ok(), "a party that comes late is admitted, too");
        drop((greedy, more));
        assert!(gate.taken() == 0 && gate.lock().by_party.is_empty());
    }

    #[test]
    fn overload_is_refused() {
        let gate = Gate::default();
        let entered: Vec<_> = (0..MAX_SEARCHES).map(|number| gate.enter(party(number)).unwrap()).collect();
        assert!(matches!(gate.enter(party(MAX_SEARCHES)), Err(SearchError::Overloaded)));
        assert_eq!(gate.taken(), entered.len());
    }
}
