//! The rows that a batch of commands reads, and the changes that the rules make to them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    AuditEntry, DeadLetterId, Fingerprint, IdRange, Item, ItemId, Keys, NameKey, NewEvent, Order, OrderId,
    Outcome, Party, PartyId, RequestId, Ride, RideId, Sku, Stars, Tally, Till, TillId, Timestamp, Wish,
};

/// A request that was carried out, as stored to answer replays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The hash of the request's parameters.
    pub fingerprint: Fingerprint,
    /// The outcome that a replay returns.
    pub outcome: Outcome,
}

/// The rows of one kind by key. It tracks which of them the rules have changed.
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
    /// Adds a row as read from the store; it does not count as changed.
    pub fn load(&mut self, key: K, value: V) {
        self.rows.insert(key, Row { value: Some(value), changed: false });
    }

    /// Returns the row; `None` if it does not exist, was removed, or was not loaded.
    pub fn row(&self, key: K) -> Option<&V> {
        self.rows.get(&key).and_then(|row| row.value.as_ref())
    }

    /// Inserts or replaces a row, and marks it as changed.
    pub(super) fn put(&mut self, key: K, value: V) {
        self.rows.insert(key, Row { value: Some(value), changed: true });
    }

    /// Removes a row, leaving a tombstone so that the removal is saved.
    pub(super) fn remove(&mut self, key: K) {
        self.rows.insert(key, Row { value: None, changed: true });
    }

    /// Returns the changed rows in key order, with `None` for a removed row.
    pub fn changes(&self) -> impl Iterator<Item = (K, Option<&V>)> {
        self.rows.iter().filter(|(_, row)| row.changed).map(|(key, row)| (*key, row.value.as_ref()))
    }

    /// Takes the changed rows in key order, with `None` for a removed row.
    pub fn into_changes(self) -> impl Iterator<Item = (K, Option<V>)> {
        self.rows.into_iter().filter(|(_, row)| row.changed).map(|(key, row)| (key, row.value))
    }

    /// Returns the keys of all rows that exist.
    pub fn keys(&self) -> impl Iterator<Item = K> {
        self.rows.iter().filter(|(_, row)| row.value.is_some()).map(|(key, _)| *key)
    }
}

/// Everything that one batch of commands reads and writes.
///
/// The contract of a lane is load, decide, save: a back end loads the rows of [`Keys`](crate::Keys), the rules
/// decide the commands one after another, each seeing the changes of those before it, and the back end saves
/// all changes in one transaction. Nothing is answered before that transaction has committed.
#[derive(Clone, Debug, Default)]
pub struct WorkingSet {
    /// Parties. Saving one also opens its mailbox and sets the mailbox's callback.
    pub parties: Table<PartyId, Party>,
    /// Who has a display name, or one that looks like it. Derived from the parties and `claimed_names`, never saved.
    pub names: BTreeMap<NameKey, PartyId>,
    /// The keys of the names that parties take with this batch, in place of those that they had.
    pub claimed_names: BTreeMap<PartyId, NameKey>,
    /// Items, including deleted ones.
    pub items: Table<ItemId, Item>,
    /// Orders, both loaded and new.
    pub orders: Table<OrderId, Order>,
    /// Rides, both loaded and new.
    pub rides: Table<RideId, Ride>,
    /// Tills. Saving one also opens its mailbox.
    pub tills: Table<TillId, Till>,
    /// Wishes, by buyer and item.
    pub wishes: Table<(PartyId, ItemId), Wish>,
    /// Ratings, by buyer and item.
    pub ratings: Table<(PartyId, ItemId), Stars>,
    /// The number of orders that were not cancelled, by buyer and item, as far as [`Self::rated`] asks for
    /// it. Derived from the orders, never saved.
    pub purchases: BTreeMap<(PartyId, ItemId), i64>,
    /// Listed items, by seller and SKU. Derived from the items, never saved.
    pub skus: BTreeMap<(PartyId, Sku), ItemId>,
    /// Requests that were carried out, for replays.
    pub requests: Table<(PartyId, RequestId), Recorded>,
    /// Items whose change affects search, to be appended to the item feed.
    pub search_changes: BTreeSet<ItemId>,
    /// The number of changes that affect search. Several changes of one item count separately, so that a lane can
    /// tell which of its commands made one. Never saved.
    pub searchable_changes: u64,
    /// What the changes add to the sums that are kept. Saved as increments.
    pub tally: Tally,
    /// New events, in the order in which they happened.
    pub events: Vec<NewEvent>,
    /// Dead letters that are redelivered by `events`, to be deleted.
    pub exhumed: Vec<DeadLetterId>,
    /// New audit entries, in the order of the commands.
    pub audit: Vec<AuditEntry>,
    /// When the batch was decided, by the market's steady clock: the age of requests, events and deliveries counts
    /// from here. Meaningless if nothing was changed.
    pub decided_at: Timestamp,
    /// Numbers reserved for new items.
    pub item_ids: IdRange,
    /// Numbers reserved for new orders.
    pub order_ids: IdRange,
}

impl WorkingSet {
    /// Returns whether the rules have changed nothing, so that there is nothing to commit.
    pub fn is_unchanged(&self) -> bool {
        // These three suffice: every command that takes effect stores its request or an audit entry, and a
        // repeated till line, which stores neither, writes its till.
        self.requests.changes().next().is_none()
            && self.tills.changes().next().is_none()
            && self.audit.is_empty()
    }

    /// Returns the buyers and items whose ratings the batch may set or withdraw. A back end calls this after loading the
    /// orders. It then loads these ratings, and counts the purchases of each: orders that were not cancelled, and
    /// archived ones. It may stop counting at the number given here, which is one more than the batch can cancel, so that
    /// a buyer of very many orders costs no more than others.
    pub fn rated(&self, keys: &Keys) -> BTreeMap<(PartyId, ItemId), i64> {
        let mut enough: BTreeMap<_, _> = keys.ratings.iter().map(|key| (*key, 1)).collect();
        for (buyer, id) in &keys.cancelled {
            match self.orders.row(*id) {
                Some(order) if order.buyer == *buyer => {
                    enough.insert((*buyer, order.item), 1);
                }
                // Another party's order, so the cancellation is refused.
                Some(_) => {}
                // If it is placed by the batch itself, it is of one of these items.
                None => enough.extend(keys.bought.iter().filter(|(by, _)| by == buyer).map(|key| (*key, 1))),
            }
        }
        if enough.is_empty() {
            return enough;
        }
        for order in self.orders.keys().filter_map(|id| self.orders.row(id)) {
            if let Some(count) = enough.get_mut(&(order.buyer, order.item)) {
                *count += 1;
            }
        }
        enough
    }

    pub(super) fn put_party(&mut self, party: Party) {
        self.tally.add_party(self.parties.row(party.id).is_none());
        self.parties.put(party.id, party);
    }

    /// Gives a party a name, and all that look like it. Its previous name stays taken until the batch is saved: the rows of
    /// a batch may be written in any order, and no two of them may share a name meanwhile.
    pub(super) fn claim_name(&mut self, party: PartyId, name: NameKey) {
        self.names.insert(name.clone(), party);
        self.claimed_names.insert(party, name);
    }

    pub(super) fn put_item(&mut self, item: Item) {
        self.tally.add_item(self.items.row(item.id), &item);
        // Compared with the row as the batch sees it now: of several changes, each that affects search
        // counts.
        if self.items.row(item.id).is_none_or(|before| before.search_differs(&item)) {
            self.search_changes.insert(item.id);
            self.searchable_changes += 1;
        }
        if let Some(sku) = &item.sku {
            // Kept up to date, so that later commands of the batch see a new SKU as taken and a deleted
            // item's as free.
            let key = (item.seller, sku.clone());
            if item.is_listed() {
                self.skus.insert(key, item.id);
            } else if self.skus.get(&key) == Some(&item.id) {
                // Only its owner frees it: a deleted item still changes when an old order of it is cancelled,
                // and by then another item may have its SKU.
                self.skus.remove(&key);
            }
        }
        self.items.put(item.id, item);
    }

    pub(super) fn put_order(&mut self, order: Order) {
        self.tally.add_order(self.orders.row(order.id), &order);
        let stood = self.orders.row(order.id).is_some_and(|before| before.status.stands());
        // The count exists only if a command of the batch asked for it; a later rating must see this order.
        if let Some(count) = self.purchases.get_mut(&(order.buyer, order.item)) {
            *count += i64::from(order.status.stands()) - i64::from(stood);
        }
        self.orders.put(order.id, order);
    }
}
