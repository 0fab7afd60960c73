//! The orders, and how many purchases each buyer has of an item.

use std::collections::BTreeMap;

use souk_domain::{ItemId, Order, OrderId, PartyId};

#[derive(Default)]
pub(super) struct Orders {
    by_id: BTreeMap<OrderId, Order>,
    /// The number of orders that were not cancelled, where it is not 0. RateItem and CancelOrder need it, and a buyer can
    /// have any number of orders.
    standing: BTreeMap<(PartyId, ItemId), i64>,
    /// The number of orders that were read.
    #[cfg(test)]
    reads: std::cell::Cell<usize>,
}

impl Orders {
    pub(super) fn get(&self, id: OrderId) -> Option<&Order> {
        self.by_id.get(&id).inspect(|_| self.count_read())
    }

    /// Returns all orders by number.
    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = &Order> {
        self.by_id.values().inspect(|_| self.count_read())
    }

    /// Returns the orders with higher numbers.
    pub(super) fn after(&self, id: OrderId) -> impl Iterator<Item = &Order> {
        self.by_id
            .range(OrderId(id.0.saturating_add(1))..)
            .map(|(_, order)| order)
            .inspect(|_| self.count_read())
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Returns how many orders of an item a buyer has that were not cancelled.
    pub(super) fn standing(&self, buyer: PartyId, item: ItemId) -> i64 {
        self.standing.get(&(buyer, item)).copied().unwrap_or(0)
    }

    /// Adds an order, or replaces one.
    pub(super) fn put(&mut self, order: Order) {
        self.count(&order, 1);
        if let Some(before) = self.by_id.insert(order.id, order) {
            self.count(&before, -1);
        }
    }

    pub(super) fn remove(&mut self, id: OrderId) -> Option<Order> {
        let removed = self.by_id.remove(&id)?;
        self.count(&removed, -1);
        Some(removed)
    }

    fn count(&mut self, order: &Order, change: i64) {
        if order.status.stands() {
            let key = (order.buyer, order.item);
            let count = self.standing.entry(key).or_default();
            *count += change;
            if *count == 0 {
                self.standing.remove(&key);
            }
        }
    }

    fn count_read(&self) {
        #[cfg(test)]
        self.reads.set(self.reads.get() + 1);
    }
}

#[cfg(test)]
mod tests {
    use souk_domain::{Outcome, action};

    use super::{super::Memory, *};
    use crate::{
        Lane,
        fixture::{self, ALICE, BOB, act, buy, lamp, rate},
        memory::lane::MemoryLane,
    };

    const ORDERS: i64 = 1_000_000;

    /// Gives the buyer orders like this one, of the items 1 and 2 in turn.
    fn fill(memory: &Memory, like: &Order) {
        let mut state = memory.state();
        for number in 2..=ORDERS {
            let item = ItemId(1 + number % 2);
            state.orders.put(Order { id: OrderId(number), item, ..like.clone() });
            if let Some(item) = state.items.get_mut(&item) {
                item.sold += 1;
                item.supplied += 1;
            }
        }
        state.last_order = ORDERS;
    }

    #[tokio::test]
    async fn rating_and_cancelling_read_few_of_a_million_orders() {
        let memory = Memory::default();
        let mut lane: Box<dyn Lane> = Box::new(MemoryLane::new(memory.clone()));
        fixture::open(&mut lane).await;
        act(&mut lane, 4, ALICE, lamp()).await;
        act(&mut lane, 5, ALICE, lamp()).await;
        let (common, rare) = (ItemId(1), ItemId(3));
        let Outcome::Order(first) = act(&mut lane, 6, BOB, buy(common)).await else { panic!("an order") };
        fill(&memory, &first);
        let reads = || memory.state().orders.reads.replace(0);
        let ratings = |item| memory.state().items[&item].rating.count;

        reads();
        act(&mut lane, 7, BOB, rate(common)).await;
        assert_eq!(reads(), 0);
        act(&mut lane, 8, BOB, action::Cancel { order: OrderId(ORDERS / 2) }).await;
        assert_eq!(reads(), 1, "the cancelled one");
        assert_eq!(ratings(common), 1, "other orders are left");
        // Of another item there is only one order, after all the others.
        let Outcome::Order(order) = act(&mut lane, 9, BOB, buy(rare)).await else { panic!("an order") };
        act(&mut lane, 10, BOB, rate(rare)).await;
        act(&mut lane, 11, BOB, action::Cancel { order: order.id }).await;
        assert_eq!(reads(), 1);
        assert_eq!((ratings(common), ratings(rare)), (1, 0));
    }
}
