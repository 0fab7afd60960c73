//! The only lane of the memory back end.

use async_trait::async_trait;
use souk_domain::{Audience, IdRange, ItemId, Keys, NewEvent, PartyId, WorkingSet};

use super::{
    Memory,
    state::{FanOut, State},
};
use crate::{
    Lane, Receipt, Reliability, SaveError, StoreError,
    audit::{Link, line},
};

pub(super) struct MemoryLane {
    memory: Memory,
}

impl MemoryLane {
    pub(super) fn new(memory: Memory) -> Self {
        Self { memory }
    }
}

#[async_trait]
impl Lane for MemoryLane {
    async fn load(&mut self, keys: &Keys) -> Result<WorkingSet, StoreError> {
        // The lock is not held until `save`: this is the only lane, so no other batch can change these rows in
        // between.
        Ok(load(&self.memory.state(), keys))
    }

    async fn save(&mut self, rows: &WorkingSet) -> Result<Receipt, SaveError> {
        Ok(save(&mut self.memory.state(), rows))
    }

    async fn abandon(&mut self) {}
}

fn load(state: &State, keys: &Keys) -> WorkingSet {
    let mut rows = WorkingSet::default();
    for id in &keys.rides {
        if let Some(ride) = state.rides.get(id) {
            rows.rides.load(*id, ride.clone());
        }
    }
    for id in &keys.tills {
        if let Some(till) = state.tills.get(id) {
            rows.tills.load(*id, till.clone());
        }
    }
    for id in &keys.orders {
        if let Some(order) = state.orders.get(*id) {
            rows.orders.load(*id, order.clone());
        }
    }
    let ordered: Vec<_> =
        rows.orders.keys().filter_map(|id| rows.orders.row(id)).map(|order| order.item).collect();
    for (seller, sku) in &keys.skus {
        if let Some(id) = state.skus.get(&(*seller, sku.clone())) {
            rows.skus.insert((*seller, sku.clone()), *id);
        }
    }
    let numbered: Vec<_> = rows.skus.values().copied().collect();
    for id in keys.items.iter().copied().chain(ordered).chain(numbered) {
        if let Some(item) = state.item(id) {
            rows.items.load(id, item);
        }
    }
    // After the items, because only these name their sellers. The rules need them to tell whether an item is
    // on the market.
    let sellers: Vec<_> =
        rows.items.keys().filter_map(|id| rows.items.row(id)).map(|item| item.seller).collect();
    for id in keys.parties.iter().copied().chain(sellers) {
        if let Some(party) = state.parties.get(&id) {
            rows.parties.load(id, party.clone());
        }
    }
    for name in &keys.names {
        if let Some(party) = state.names.get(name) {
            rows.names.insert(name.clone(), *party);
        }
    }
    for key in &keys.wishes {
        if let Some(wish) = state.wishes.get(key) {
            rows.wishes.load(*key, *wish);
        }
    }
    for key in rows.rated(keys).into_keys() {
        if let Some(stars) = state.ratings.get(&key) {
            rows.ratings.load(key, *stars);
        }
        rows.purchases.insert(key, purchases(state, key));
    }
    for key in &keys.requests {
        if let Some((recorded, _)) = state.requests.get(key) {
            rows.requests.load(*key, recorded.clone());
        }
    }
    if keys.new_items > 0 {
        // Not taken from the counter yet: only what the batch uses is, when it is saved.
        rows.item_ids = IdRange::new(state.last_item + 1, keys.new_items);
    }
    if keys.new_orders > 0 {
        rows.order_ids = IdRange::new(state.last_order + 1, keys.new_orders);
    }
    rows
}

/// Counts a buyer's purchases of an item that stand. Archived ones count as one.
fn purchases(state: &State, key: (PartyId, ItemId)) -> i64 {
    state.orders.standing(key.0, key.1) + i64::from(state.archived.bought.contains(&key))
}

fn save(state: &mut State, rows: &WorkingSet) -> Receipt {
    for (id, party) in rows.parties.changes() {
        let Some(party) = party else { continue };
        let before = state.parties.insert(id, party.clone());
        let mailbox = state.mailboxes.entry(id).or_default();
        let callback_stays = before.is_some_and(|before| before.open_callback() == party.open_callback());
        if !callback_stays || mailbox.reliability != Reliability::Proven {
            mailbox.reliability = Reliability::Unproven;
        }
        // A registration ends the back-off, as [`Lane::save`] promises, but makes nothing due that is not
        // pending.
        mailbox.end_back_off();
        mailbox.next_attempt = mailbox.next_attempt.map(|_| Default::default());
    }
    if !rows.claimed_names.is_empty() {
        state.names.retain(|_, party| !rows.claimed_names.contains_key(party));
        state.names.extend(rows.claimed_names.iter().map(|(party, name)| (name.clone(), *party)));
    }
    for (id, item) in rows.items.changes() {
        let Some(item) = item else { continue };
        if let Some(sku) = &item.sku {
            let key = (item.seller, sku.clone());
            if item.is_listed() {
                state.skus.insert(key, id);
            } else if state.skus.get(&key) == Some(&id) {
                // The SKU of a deleted item is free again, as the partial index of the SQL back ends has it. But
                // another item may have it by now, and the deleted one changes when an old order is cancelled.
                state.skus.remove(&key);
            }
        }
        state.items.insert(id, item.clone());
    }
    for order in rows.orders.changes().filter_map(|(_, order)| order) {
        state.orders.put(order.clone());
    }
    state.count_sold(&rows.tally);
    for (id, ride) in rows.rides.changes() {
        state.rides.extend(ride.map(|ride| (id, ride.clone())));
    }
    for (id, till) in rows.tills.changes() {
        // Kept when the till is removed: one that is opened again must not assign the same sequences twice.
        state.mailboxes.entry(id.mailbox()).or_default();
        match till {
            Some(till) => state.tills.insert(id, till.clone()),
            None => state.tills.remove(&id),
        };
    }
    for (key, wish) in rows.wishes.changes() {
        match wish {
            Some(wish) => state.put_wish(key, *wish),
            None => state.remove_wish(key),
        }
    }
    for (key, stars) in rows.ratings.changes() {
        match stars {
            Some(stars) => state.ratings.insert(key, *stars),
            None => state.ratings.remove(&key),
        };
    }
    for (key, recorded) in rows.requests.changes() {
        state.requests.extend(recorded.map(|recorded| (key, (recorded.clone(), rows.decided_at))));
    }
    // `max`, because the range of a batch without new items is empty and begins at 0.
    state.last_item = state.last_item.max(rows.item_ids.next() - 1);
    state.last_order = state.last_order.max(rows.order_ids.next() - 1);
    let feed_position = state.move_in_feed(&rows.search_changes);
    let mut receipt = Receipt { feed_position, ..Receipt::of(rows) };
    for letter in &rows.exhumed {
        state.dead_letters.remove(letter);
    }
    for event in &rows.events {
        save_event(state, event, rows, &mut receipt);
    }
    let mut link = Link::after(state.audit_head());
    state.audit.extend(rows.audit.iter().map(|entry| link.next_line(line(entry))));
    receipt
}

fn save_event(state: &mut State, new: &NewEvent, rows: &WorkingSet, receipt: &mut Receipt) {
    let NewEvent { event, audience } = new;
    match *audience {
        Audience::Party(recipient) => {
            state.mailboxes.entry(recipient).or_default().put(event.clone(), rows.decided_at);
            receipt.recipients.push(recipient);
            let party = state.parties.get(&recipient);
            receipt.has_callback |= party.is_some_and(|party| party.open_callback().is_some());
        }
        Audience::Wishers(item) => {
            let (Some(item), Some(_)) = (state.items.get(&item), state.wishers(item, None).next()) else {
                return;
            };
            let (event, since) = (event.clone(), rows.decided_at);
            let fan_out = FanOut { event, since, item: item.id, cursor: None };
            state.fan_outs.entry(item.seller).or_default().push_back(fan_out);
            receipt.needs_expansion = true;
        }
    }
}
