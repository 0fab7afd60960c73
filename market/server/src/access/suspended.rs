//! Who is shut out just now.

use std::{collections::HashSet, sync::Arc};

use arc_swap::ArcSwap;
use souk_domain::PartyId;

/// The suspended parties. Few: reading is a look-up in a small set, writing copies it.
#[derive(Clone, Default)]
pub struct Suspended(Arc<ArcSwap<HashSet<PartyId>>>);

impl Suspended {
    /// These parties.
    pub fn new(parties: impl IntoIterator<Item = PartyId>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(parties.into_iter().collect())))
    }

    /// Whether a party is one of them.
    pub fn contains(&self, party: PartyId) -> bool {
        self.0.load().contains(&party)
    }

    /// All of them, as they are now.
    pub fn all(&self) -> Arc<HashSet<PartyId>> {
        self.0.load_full()
    }

    /// Puts a party in, or takes it out.
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
