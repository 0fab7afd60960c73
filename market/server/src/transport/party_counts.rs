//! The number of things that each party has in progress, with a limit.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use souk_certs::identity::Identity;

/// Counts per party.
#[derive(Debug)]
pub(super) struct PartyCounts {
    most: u32,
    /// Parties without any have no entry, so the map stays small.
    by_party: Mutex<HashMap<Identity, u32>>,
}

impl PartyCounts {
    /// Creates counts of which none exceeds `most`, which is at least 1.
    pub(super) fn new(most: u32) -> Self {
        Self { most, by_party: Mutex::default() }
    }

    /// Counts one more of a party. Returns false if the party has as many as it may.
    pub(super) fn take(&self, party: Identity) -> bool {
        let mut by_party = self.lock();
        // A rejected party has an entry already, as the limit is at least 1, so rejections do not grow the map.
        let count = by_party.entry(party).or_default();
        let may = *count < self.most;
        *count += u32::from(may);
        may
    }

    /// Gives back what [`PartyCounts::take`] has counted.
    pub(super) fn give_back(&self, party: Identity) {
        let mut by_party = self.lock();
        if let Some(count) = by_party.get_mut(&party) {
            *count -= 1;
            // Removed at zero; otherwise the map would grow by every party that ever called.
            if *count == 0 {
                by_party.remove(&party);
            }
        }
    }

    /// Returns the sum over all parties.
    pub(super) fn total(&self) -> usize {
        self.lock().values().map(|count| *count as usize).sum()
    }

    /// Returns whether no party is remembered.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Locks the counts. A poisoned lock is safe to use: no update under it can panic half-way.
    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, u32>> {
        self.by_party.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
