//! The set of suspended parties.

use std::{collections::HashSet, sync::Arc};

use arc_swap::ArcSwap;
use souk_domain::PartyId;
use tokio::sync::watch;

/// The suspended parties. Every call reads the set and it rarely changes: so reads take no lock, and a write copies
/// the set. Clones share it.
#[derive(Clone, Default)]
pub struct Suspended(Arc<Shared>);

#[derive(Default)]
struct Shared {
    parties: ArcSwap<HashSet<PartyId>>,
    changes: watch::Sender<()>,
}

impl Suspended {
    /// Creates the set with these parties.
    pub fn new(parties: impl IntoIterator<Item = PartyId>) -> Self {
        let parties = ArcSwap::from_pointee(parties.into_iter().collect());
        Self(Arc::new(Shared { parties, changes: watch::Sender::default() }))
    }

    /// Returns whether a party is suspended.
    pub fn contains(&self, party: PartyId) -> bool {
        self.0.parties.load().contains(&party)
    }

    /// Returns a snapshot of the set.
    pub fn all(&self) -> Arc<HashSet<PartyId>> {
        self.0.parties.load_full()
    }

    /// Adds a party to the set or removes it.
    pub fn set(&self, party: PartyId, is_suspended: bool) {
        self.0.parties.rcu(|before| {
            let mut after = HashSet::clone(before);
            if is_suspended {
                after.insert(party)
            } else {
                after.remove(&party)
            };
            after
        });
        self.0.changes.send_replace(());
    }

    /// Returns a receiver that is notified after each change of the set.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }
}
