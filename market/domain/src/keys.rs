//! Keys: which rows a batch of commands needs.

use std::collections::BTreeSet;

use super::{ItemId, NameKey, OrderId, PartyId, RequestId, RideId, Sku, TillId};

/// The keys of the rows that a batch reads.
///
/// The sets are ordered: a back end that locks rows does so in key order, so that two batches never wait for
/// each other (no deadlock).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Parties. A back end also loads the sellers of the items.
    pub parties: BTreeSet<PartyId>,
    /// Display names, to find out who has them.
    pub names: BTreeSet<NameKey>,
    /// Items. A back end also loads the items of the orders, and those found by SKU.
    pub items: BTreeSet<ItemId>,
    /// Listed items, by seller and SKU.
    pub skus: BTreeSet<(PartyId, Sku)>,
    /// Orders to be changed. New ones are counted in `new_orders`.
    pub orders: BTreeSet<OrderId>,
    /// Rides to be ended.
    pub rides: BTreeSet<RideId>,
    /// Tills to be opened, removed or advanced.
    pub tills: BTreeSet<TillId>,
    /// Wishes, by buyer and item.
    pub wishes: BTreeSet<(PartyId, ItemId)>,
    /// Ratings to be set, by buyer and item. [`WorkingSet::rated`](crate::WorkingSet::rated) says what a back end loads for
    /// them.
    pub ratings: BTreeSet<(PartyId, ItemId)>,
    /// Those of `orders` that their buyers cancel, which may withdraw ratings.
    pub cancelled: BTreeSet<(PartyId, OrderId)>,
    /// The buyers and items of the new orders. A cancellation may name an order of its own batch by guessing its number.
    pub bought: Vec<(PartyId, ItemId)>,
    /// Idempotency keys, to recognise requests that were carried out before.
    pub requests: BTreeSet<(PartyId, RequestId)>,
    /// The maximum number of new items, for which the back end reserves numbers.
    pub new_items: usize,
    /// The maximum number of new orders, for which the back end reserves numbers.
    pub new_orders: usize,
}

impl Keys {
    /// Returns whether both name a row that is locked for the batch.
    ///
    /// Parties, their names and requests are left out on purpose: a back end guards them by revision and by unique key,
    /// so two batches that share one need not wait for each other.
    pub fn contend(&self, other: &Self) -> bool {
        !(self.items.is_disjoint(&other.items)
            && self.skus.is_disjoint(&other.skus)
            && self.orders.is_disjoint(&other.orders)
            && self.rides.is_disjoint(&other.rides)
            && self.tills.is_disjoint(&other.tills))
    }
}
