//! The set of suspended parties.

use std::{collections::HashSet, sync::Arc};

use arc_swap::ArcSwap;
use souk_domain::PartyId;

/// The suspended parties. Every call reads the set and it rarely changes: so reads take no lock, and a write copies
/// the set. Clones share it.
#[derive(Clone, Default)]
pub struct Suspended(Arc<ArcSwap<HashSet<PartyId>>>);

impl Suspended {
    /// Creates the set with these parties.
    pub fn new(parties: impl IntoIterator<Item = PartyId>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(parties.into_iter().collect())))
    }

    /// Returns whether a party is suspended.
    pub fn contains(&self, party: PartyId) -> bool {
        self.0.load().contains(&party)
    }

    /// Returns a snapshot of the set.
    pub fn all(&self) -> Arc<HashSet<PartyId>> {
        self.0.load_full()
    }

    /// Adds a party to the set or removes it.
    pub fn set(&self, party: PartyId, is_suspended: bool) {
        self.0.rcu(|before| {
            let mut after = HashSet::clone(before);
            if is_suspended {
                after.insert(party)
            } else {
                after.remove(&party)
            };
            after
        });
    }
}
