//! Epochs: shut a party's tokens off before they end by themselves.

use std::collections::HashMap;

use arc_swap::ArcSwap;
use souk_domain::PartyId;

/// The parties whose epoch was ever raised. Few: reading is a look-up in a small map, writing copies it.
pub(super) struct Epochs(ArcSwap<HashMap<PartyId, i64>>);

impl Epochs {
    pub(super) fn new(raised: Vec<(PartyId, i64)>) -> Self {
        Self(ArcSwap::from_pointee(raised.into_iter().collect()))
    }

    /// The oldest epoch whose tokens are good.
    pub(super) fn current(&self, party: PartyId) -> i64 {
        self.0.load().get(&party).copied().unwrap_or(0)
    }

    pub(super) fn raise(&self, party: PartyId, epoch: i64) {
        self.0.rcu(|before| {
            let mut after = HashMap::clone(before);
            let current = after.entry(party).or_insert(epoch);
            *current = epoch.max(*current);
            after
        });
    }
}
