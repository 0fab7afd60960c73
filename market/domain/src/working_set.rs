//! The rows that a batch of commands touches, and what the rules have changed of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    AuditEntry, Fingerprint, IdRange, Item, ItemId, NewEvent, Order, OrderId, Outcome, Party, PartyId,
    RequestId, Ride, RideId, Sku, Stars, Till, TillId, Timestamp, Wish,
};

/// A request that was carried out, as it is kept for replays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Of the request's parameters.
    pub fingerprint: Fingerprint,
    /// What came of it.
    pub outcome: Outcome,
}

/// Rows of one kind by key, with a mark on those that the rules have changed.
#[derive(Clone, Debug)]
pub struct Table<K, V> {
    rows: BTreeMap<K, Row<V>>,
}

#[derive(Clone, Debug)]
struct Row<V> {
    value: Option<V>,
    changed: bool,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new() }
    }
}

impl<K: Ord + Copy, V> Table<K, V> {
    /// Puts in a row as the store has it.
    pub fn load(&mut self, key: K, value: V) {
        self.rows.insert(key, Row { value: Some(value), changed: false });
    }

    /// The row, if there is one.
    pub fn row(&self, key: K) -> Option<&V> {
        self.rows.get(&key).and_then(|row| row.value.as_ref())
    }

    /// Writes a row.
    pub(super) fn put(&mut self, key: K, value: V) {
        self.rows.insert(key, Row { value: Some(value), changed: true });
    }

    /// Removes a row.
    pub(super) fn remove(&mut self, key: K) {
        self.rows.insert(key, Row { value: None, changed: true });
    }

    /// The changed rows in key order; `None` where the row was removed.
    pub fn changes(&self) -> impl Iterator<Item = (K, Option<&V>)> {
        self.rows.iter().filter(|(_, row)| row.changed).map(|(key, row)| (*key, row.value.as_ref()))
    }

    /// The keys of all rows that are there.
    pub fn keys(&self) -> impl Iterator<Item = K> {
        self.rows.iter().filter(|(_, row)| row.value.is_some()).map(|(key, _)| *key)
    }
}

/// Everything that one batch of commands reads and writes.
///
/// A back end fills it from [`Keys`](super::Keys) and afterwards saves its changes; in between, the rules work on it
/// one command after another, each seeing what those before it have changed.
#[derive(Clone, Debug, Default)]
pub struct WorkingSet {
    /// Parties. Saving one also opens its mailbox and points it at the callback.
    pub parties: Table<PartyId, Party>,
    /// Items.
    pub items: Table<ItemId, Item>,
    /// Orders.
    pub orders: Table<OrderId, Order>,
    /// Rides.
    pub rides: Table<RideId, Ride>,
    /// Tills. Saving one also opens its mailbox.
    pub tills: Table<TillId, Till>,
    /// Wishes.
    pub wishes: Table<(PartyId, ItemId), Wish>,
    /// Ratings.
    pub ratings: Table<(PartyId, ItemId), Stars>,
    /// Standing orders by buyer and item. Derived from the orders, never saved.
    pub purchases: BTreeMap<(PartyId, ItemId), i64>,
    /// Listed items by seller and its own number. Derived from the items, never saved.
    pub skus: BTreeMap<(PartyId, Sku), ItemId>,
    /// Requests carried out.
    pub requests: Table<(PartyId, RequestId), Recorded>,
    /// Changed items that a search would now find differently.
    pub search_changes: BTreeSet<ItemId>,
    /// What is to be told, in the order in which it happened.
    pub events: Vec<NewEvent>,
    /// What the audit log is to tell, in order.
    pub audit: Vec<AuditEntry>,
    /// When the batch was decided.
    pub decided_at: Timestamp,
    /// Numbers for new items.
    pub item_ids: IdRange,
    /// Numbers for new orders.
    pub order_ids: IdRange,
}

impl WorkingSet {
    /// Whether the rules have changed nothing, so that there is nothing to commit.
    pub fn is_unchanged(&self) -> bool {
        self.requests.changes().next().is_none()
            && self.tills.changes().next().is_none()
            && self.audit.is_empty()
    }

    pub(super) fn put_item(&mut self, item: Item) {
        if self.items.row(item.id).is_none_or(|before| before.search_differs(&item)) {
            self.search_changes.insert(item.id);
        }
        if let Some(sku) = &item.sku {
            let key = (item.seller, sku.clone());
            if item.is_listed() {
                self.skus.insert(key, item.id);
            } else {
                self.skus.remove(&key);
            }
        }
        self.items.put(item.id, item);
    }

    pub(super) fn put_order(&mut self, order: Order) {
        let stood = self.orders.row(order.id).is_some_and(|before| before.status.stands());
        if let Some(count) = self.purchases.get_mut(&(order.buyer, order.item)) {
            *count += i64::from(order.status.stands()) - i64::from(stood);
        }
        self.orders.put(order.id, order);
    }
}
