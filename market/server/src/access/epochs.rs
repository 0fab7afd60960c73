//! Epochs, by which a party's tokens are invalidated before they expire.

use std::collections::HashMap;

use arc_swap::ArcSwap;
use souk_domain::PartyId;

/// The parties whose epoch was ever raised. They are few and change rarely, whereas every call reads the map: so
/// reads take no lock, and a write copies the map.
pub(super) struct Epochs(ArcSwap<HashMap<PartyId, i64>>);

impl Epochs {
    pub(super) fn new(raised: Vec<(PartyId, i64)>) -> Self {
        Self(ArcSwap::from_pointee(raised.into_iter().collect()))
    }

    /// Returns the party's current epoch. Tokens of lower epochs are invalid.
    pub(super) fn current(&self, party: PartyId) -> i64 {
        self.0.load().get(&party).copied().unwrap_or(0)
    }

    pub(super) fn raise(&self, party: PartyId, epoch: i64) {
        self.0.rcu(|before| {
            let mut after = HashMap::clone(before);
            let current = after.entry(party).or_insert(epoch);
            // Reports arrive from commits here and from polling, in any order. An older one must not revive
            // tokens.
            *current = epoch.max(*current);
            after
        });
    }
}
