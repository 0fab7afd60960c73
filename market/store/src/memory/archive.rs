//! Pruning of archived orders and audit entries.

use std::collections::BTreeMap;

use async_trait::async_trait;
use souk_domain::{ItemId, Order, OrderId, SalesKey, Timestamp, day_of};

use super::{Memory, rows::count, state::State};
use crate::{
    AUDIT_STEP, Archive, DueOrders, ORDERS_STEP, PrunedBy, StoreError,
    archive::PrunedOrders,
    audit::{Head, Link, line},
};

#[async_trait]
impl Archive for Memory {
    async fn due_orders(&self, before: Timestamp, after: OrderId) -> Result<DueOrders, StoreError> {
        let state = self.state();
        let horizon = horizon(&state, before);
        let seen: Vec<_> = state.orders.after(after).take(ORDERS_STEP).collect();
        let next = if seen.len() < ORDERS_STEP { None } else { seen.last().map(|order| order.id) };
        let due = seen.into_iter().filter(|order| is_due(&state, order, horizon));
        Ok(DueOrders { orders: due.cloned().collect(), next })
    }

    async fn prune_orders(
        &self,
        orders: &[OrderId],
        before: Timestamp,
        by: &PrunedBy,
    ) -> Result<usize, StoreError> {
        let mut state = self.state();
        let horizon = horizon(&state, before);
        let mut pruned = BTreeMap::new();
        for id in orders {
            if state.orders.get(*id).is_some_and(|order| is_due(&state, order, horizon)) {
                pruned.extend(state.orders.remove(*id).map(|order| (*id, order)));
            }
        }
        for order in pruned.values() {
            keep_sums(&mut state, order);
        }
        if let (Some((first, _)), Some((last, _))) = (pruned.first_key_value(), pruned.last_key_value()) {
            let count = count(pruned.len());
            let mut link = Link::after(state.audit_head());
            state.audit.push(link.next_line(line(&by.orders(PrunedOrders {
                count,
                first: first.0,
                last: last.0,
            }))));
        }
        Ok(pruned.len())
    }

    async fn prune_audit(&self, through: i64, by: &PrunedBy) -> Result<usize, StoreError> {
        let mut state = self.state();
        let last = through.min(state.audit_head().sequence - 1);
        let count = state.audit.iter().take(AUDIT_STEP).take_while(|row| row.sequence <= last).count();
        let gone: Vec<_> = state.audit.drain(..count).collect();
        if let (Some(first), Some(last)) = (gone.first(), gone.last()) {
            let base = Head { sequence: last.sequence, hash: last.hash };
            state.archived.audit_base = base;
            let mut link = Link::after(state.audit_head());
            state.audit.push(link.next_line(line(&by.audit(first.sequence, base))));
        }
        Ok(count)
    }
}

/// Returns the time before which an order must have ended to be due: the given one, or that of the oldest undelivered
/// order event or stored outcome. These may be about any order that ended since.
fn horizon(state: &State, before: Timestamp) -> Timestamp {
    let outcomes = state.requests.values().map(|(_, done_at)| *done_at);
    let events = state.mailboxes.values().flat_map(|mailbox| mailbox.waiting.values());
    let events = events.filter(|waiting| waiting.event.kind.is_order()).map(|waiting| waiting.since);
    outcomes.chain(events).fold(before, Timestamp::min)
}

fn is_due(state: &State, order: &Order, horizon: Timestamp) -> bool {
    let rides = order.ride.and_then(|ride| state.rides.get(&ride));
    order.finished_at().is_some_and(|finished| finished < horizon)
        && rides.is_none_or(|ride| ride.ended_at.is_some())
}

fn keep_sums(state: &mut State, order: &Order) {
    let is_listed = |item: ItemId| state.items.get(&item).is_some_and(|item| item.is_listed());
    let key = (order.buyer, order.item);
    // A withdrawn item can't be rated, so its purchases are not kept, even if it is put back on sale later. But a rating
    // that it has must stay when the buyer cancels another order.
    if order.status.stands() && (is_listed(order.item) || state.ratings.contains_key(&key)) {
        state.archived.bought.insert(key);
    }
    if !order.status.stands() {
        state.archived.cancelled += 1;
        return;
    }
    let key = SalesKey {
        seller: order.seller,
        day: day_of(order.placed_at),
        item: order.item,
        currency: order.unit_price.currency_code(),
    };
    let sum = state.archived.sales.entry(key).or_default();
    sum.orders += 1;
    sum.units += order.quantity;
    sum.amount_minor += i128::from(order.total_price.amount_minor());
}
