//! Buying, and taking a purchase back.

use super::{Decision, Effect, Rules};
use crate::domain::{
    Audience, EventKind, Invalid, ItemId, Money, Order, OrderId, OrderQuantity, OrderStatus, Outcome, Party,
    Refusal,
};

impl Rules<'_, '_> {
    /// Sells units to the caller, never more than there are.
    pub(super) fn buy(
        &mut self,
        caller: &Party,
        id: ItemId,
        quantity: OrderQuantity,
        expected_unit_price: Option<Money>,
    ) -> Result<Decision, Refusal> {
        let mut item = self.listed(id)?;
        let units = quantity.units();
        if let Some(expected) = expected_unit_price
            && expected != item.unit_price
        {
            return Err(Refusal::PriceChanged { expected, actual: item.unit_price });
        }
        if item.quantity < units {
            return Err(Refusal::OutOfStock { item: id, requested: units, available: item.quantity });
        }
        let total_price = item.unit_price.times(units).ok_or_else(total_too_large)?;
        item.quantity -= units;
        item.sold += units;
        item.version += 1;
        let order = Order {
            id: self.next_order_id(),
            buyer: caller.id,
            buyer_name: caller.display_name.clone(),
            seller: item.seller,
            seller_name: item.seller_name.clone(),
            item: id,
            item_name: item.name.clone(),
            unit_price: item.unit_price,
            quantity: units,
            total_price,
            status: OrderStatus::Placed,
            placed_at: self.context.now,
            cancelled_at: None,
        };
        let kind = EventKind::OrderPlaced {
            order: order.clone(),
            remaining_quantity: item.quantity,
            item_version: item.version,
        };
        let event = self.event(Audience::Party(item.seller), kind);
        Ok(Decision {
            outcome: Outcome::Order(order.clone()),
            effects: vec![Effect::PutItem(item), Effect::PutOrder(order), Effect::Emit(event)],
        })
    }

    /// Cancels an order of the caller's. Its units go back into stock, or count as withdrawn when the
    /// item is off the market.
    pub(super) fn cancel(&mut self, caller: &Party, id: OrderId) -> Result<Decision, Refusal> {
        let mut order = self
            .rows
            .orders
            .row(id)
            .filter(|order| order.buyer == caller.id)
            .cloned()
            .ok_or(Refusal::OrderNotFound(id))?;
        if order.status != OrderStatus::Placed {
            return Err(Refusal::NotCancellable { order: id, status: order.status });
        }
        // The store loads the item of every order, and items are never erased.
        let mut item = self.rows.items.row(order.item).cloned().ok_or(Refusal::OrderNotFound(id))?;
        item.sold -= order.quantity;
        if item.is_listed() {
            item.quantity += order.quantity;
        } else {
            item.withdrawn += order.quantity;
        }
        item.version += 1;
        order.status = OrderStatus::Cancelled;
        order.cancelled_at = Some(self.context.now);
        let kind = EventKind::OrderCancelled {
            order: order.clone(),
            remaining_quantity: item.quantity,
            item_version: item.version,
        };
        let event = self.event(Audience::Party(order.seller), kind);
        Ok(Decision {
            outcome: Outcome::Order(order.clone()),
            effects: vec![Effect::PutItem(item), Effect::PutOrder(order), Effect::Emit(event)],
        })
    }
}

fn total_too_large() -> Refusal {
    Refusal::InvalidField {
        field: "quantity",
        problem: Invalid::new("makes the total larger than 2^63-1 minor units; buy fewer units"),
    }
}
