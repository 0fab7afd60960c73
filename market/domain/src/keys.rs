//! The rows that commands need.

use std::collections::BTreeSet;

use super::{ItemId, OrderId, PartyId, RequestId, RideId, Sku, TillId};

/// Names the rows that a batch needs. Ordered, so that a back end locks rows in the same order always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Parties. A back end adds the sellers of the items.
    pub parties: BTreeSet<PartyId>,
    /// Items. A back end adds the items of the orders, and those found by their sellers' numbers.
    pub items: BTreeSet<ItemId>,
    /// Listed items by seller and its own number.
    pub skus: BTreeSet<(PartyId, Sku)>,
    /// Orders.
    pub orders: BTreeSet<OrderId>,
    /// Rides.
    pub rides: BTreeSet<RideId>,
    /// Tills.
    pub tills: BTreeSet<TillId>,
    /// Wishes.
    pub wishes: BTreeSet<(PartyId, ItemId)>,
    /// Ratings of a buyer for an item.
    pub ratings: BTreeSet<(PartyId, ItemId)>,
    /// The number of standing orders of a buyer for an item.
    pub purchases: BTreeSet<(PartyId, ItemId)>,
    /// Requests that may have been carried out before.
    pub requests: BTreeSet<(PartyId, RequestId)>,
    /// How many new item numbers may be needed.
    pub new_items: usize,
    /// How many new order numbers may be needed.
    pub new_orders: usize,
}

impl Keys {
    /// Whether both name a row that writers take turns on, by the same key.
    pub fn contend(&self, other: &Self) -> bool {
        !(self.items.is_disjoint(&other.items)
            && self.skus.is_disjoint(&other.skus)
            && self.orders.is_disjoint(&other.orders)
            && self.rides.is_disjoint(&other.rides)
            && self.tills.is_disjoint(&other.tills))
    }
}
