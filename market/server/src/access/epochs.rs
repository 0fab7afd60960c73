//! Epochs, by which a party's tokens are invalidated before they expire.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use souk_domain::PartyId;

/// The parties whose epoch was ever raised. They are few and change rarely, whereas every call reads the map: so
/// reads take no lock, and a write copies the map. Clones share it.
#[derive(Clone, Default)]
pub struct Epochs(Arc<ArcSwap<HashMap<PartyId, i64>>>);

impl Epochs {
    /// Creates the map with the epochs that the store holds.
    pub fn new(raised: Vec<(PartyId, i64)>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(raised.into_iter().collect())))
    }

    /// Returns the party's current epoch. Tokens of others are invalid.
    pub(super) fn current(&self, party: PartyId) -> i64 {
        self.0.load().get(&party).copied().unwrap_or(0)
    }

    /// Notes an epoch that the store holds. Reports arrive from commits here, from polling and from tokens that are
    /// issued, in any order: an older one must not revive tokens, so it changes nothing.
    pub fn note(&self, party: PartyId, epoch: i64) {
        // Compared first, because a change copies the whole map, and the same epoch is reported again and again.
        if epoch <= self.current(party) {
            return;
        }
        self.0.rcu(|before| {
            let mut after = HashMap::clone(before);
            let current = after.entry(party).or_insert(epoch);
            *current = epoch.max(*current);
            after
        });
    }
}
