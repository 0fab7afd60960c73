//! Purchases, and the steps of an order: shipped and delivered, or cancelled.

use super::{Decision, Effect, Rules};
use crate::{
    Audience, CancelReason, EventKind, Invalid, Item, ItemId, Money, NewEvent, Order, OrderId, OrderLine,
    OrderQuantity, OrderStatus, Party, Refusal, Role,
};

/// A purchase, or the cancellation of one, that the rules accept.
struct Purchase {
    order: Order,
    item: Item,
    events: Vec<NewEvent>,
}

impl Purchase {
    fn effects(self) -> impl Iterator<Item = Effect> {
        let written = [Effect::PutItem(self.item), Effect::PutOrder(self.order)];
        written.into_iter().chain(self.events.into_iter().map(Effect::Emit))
    }
}

impl Rules<'_, '_> {
    /// Sells units to the caller, never more than are in stock.
    pub(super) fn buy(&mut self, caller: &Party, line: &OrderLine) -> Result<Decision<Order>, Refusal> {
        let purchase = self.purchase(caller, line)?;
        Ok(Decision { outcome: purchase.order.clone(), effects: purchase.effects().collect() })
    }

    /// Sells units of several items to the caller, either all or none.
    pub(super) fn place(
        &mut self,
        caller: &Party,
        lines: &[OrderLine],
    ) -> Result<Decision<Vec<Order>>, Refusal> {
        let lines = summed_up(lines)?;
        // Each purchase is decided against the working set, which the others have not changed yet. That is
        // sound because no item occurs twice after `summed_up`.
        let purchases: Vec<_> =
            lines.iter().map(|line| self.purchase(caller, line)).collect::<Result<_, _>>()?;
        let outcome = purchases.iter().map(|purchase| purchase.order.clone()).collect();
        Ok(Decision { outcome, effects: purchases.into_iter().flat_map(Purchase::effects).collect() })
    }

    fn purchase(&mut self, caller: &Party, line: &OrderLine) -> Result<Purchase, Refusal> {
        let mut item = self.listed(line.item)?;
        let units = line.quantity.units();
        if let Some(expected) = line.expected_unit_price
            && expected != item.unit_price
        {
            return Err(Refusal::PriceChanged { expected, actual: item.unit_price });
        }
        // The price comes before the stock: a buyer who expects another price should learn the new one even
        // when the item is sold out.
        if item.quantity < units {
            return Err(Refusal::OutOfStock { item: item.id, requested: units, available: item.quantity });
        }
        // Checked, because price and quantity are each bounded, but their product may exceed 63 bits.
        let total_price = item.unit_price.times(units).ok_or_else(total_too_large)?;
        item.quantity -= units;
        item.sold += units;
        // Purchases raise the version as well, so that recipients can order events of an item, and a
        // seller's update with an expected version notices them. `updated_at` stays the time of the seller's
        // own last change.
        item.version += 1;
        let order = Order {
            id: self.next_order_id(),
            buyer: caller.id,
            // Names and price are copied: an order shows what was agreed on, whatever changes later.
            buyer_name: caller.display_name.clone(),
            seller: item.seller,
            seller_name: item.seller_name.clone(),
            item: item.id,
            item_name: item.name.clone(),
            unit_price: item.unit_price,
            quantity: units,
            total_price,
            status: OrderStatus::Placed,
            placed_at: self.context.now,
            ride: None,
            shipped_at: None,
            delivered_at: None,
            cancelled_at: None,
            cancelled_by: None,
            cancel_reason: None,
        };
        let kind = EventKind::OrderPlaced {
            order: order.clone(),
            remaining_quantity: item.quantity,
            item_version: item.version,
            sku: item.sku.clone(),
        };
        let mut events = self.notify_tills(&item, &kind);
        events.push(self.event(Audience::Party(item.seller), kind));
        Ok(Purchase { order, item, events })
    }

    /// Cancels an order as its buyer. If it was the buyer's last purchase of the item, the rating is withdrawn.
    pub(super) fn cancel(&mut self, caller: &Party, id: OrderId) -> Result<Decision<Order>, Refusal> {
        let order = self.order(id, |order| order.buyer == caller.id)?;
        self.take_back(order, Role::Buyer, None)
    }

    /// Cancels an order as its seller. The buyer's rating stays.
    pub(super) fn cancel_sale(
        &mut self,
        caller: &Party,
        id: OrderId,
        reason: &CancelReason,
    ) -> Result<Decision<Order>, Refusal> {
        let order = self.order(id, |order| order.seller == caller.id)?;
        self.take_back(order, Role::Seller, Some(reason.clone()))
    }

    /// Cancels an order and returns its units to the stock, or counts them as withdrawn if the item is off
    /// the market.
    fn take_back(
        &mut self,
        mut order: Order,
        by: Role,
        reason: Option<CancelReason>,
    ) -> Result<Decision<Order>, Refusal> {
        // Also keeps the units from being returned twice: a cancelled order is not `Placed`.
        if order.status != OrderStatus::Placed {
            return Err(Refusal::NotCancellable { order: order.id, status: order.status });
        }
        // Can't fail: the store loads the item of every order, and items are never erased.
        let mut item = self.rows.items.row(order.item).cloned().ok_or(Refusal::OrderNotFound(order.id))?;
        // Cannot go below zero: these units were added when the order was placed, and an order is cancelled at
        // most once.
        item.sold -= order.quantity;
        if item.is_listed() {
            // This may exceed `Quantity::MAX` if the seller has restocked since. Refusing the cancellation
            // would be worse.
            item.quantity += order.quantity;
        } else {
            item.withdrawn += order.quantity;
        }
        let lost_rating = match by {
            Role::Buyer => self.rating_lost_with(&order),
            // Otherwise, sellers could remove bad ratings by cancelling orders.
            Role::Seller => None,
        };
        if let Some(stars) = lost_rating {
            item.set_rating(item.rating.without(stars));
        }
        item.version += 1;
        order.status = OrderStatus::Cancelled;
        order.cancelled_at = Some(self.context.now);
        order.cancelled_by = Some(by);
        order.cancel_reason = reason;
        // Only the other side is notified; the party that cancels has the answer to its call.
        let other_side = match by {
            Role::Buyer => order.seller,
            Role::Seller => order.buyer,
        };
        let kind = EventKind::OrderCancelled {
            order: order.clone(),
            remaining_quantity: item.quantity,
            item_version: item.version,
            sku: item.sku.clone(),
        };
        let mut events = self.notify_tills(&item, &kind);
        events.push(self.event(Audience::Party(other_side), kind));
        let outcome = order.clone();
        let withdraw =
            lost_rating.map(|stars| Effect::WithdrawRating { buyer: order.buyer, item: item.id, stars });
        let effects = Purchase { order, item, events }.effects().chain(withdraw).collect();
        Ok(Decision { outcome, effects })
    }

    /// Marks an order as shipped, as its seller.
    pub(super) fn ship(&mut self, caller: &Party, id: OrderId) -> Result<Decision<Order>, Refusal> {
        let mut order = self.order(id, |order| order.seller == caller.id)?;
        needs(&order, OrderStatus::Placed)?;
        order.status = OrderStatus::Shipped;
        order.shipped_at = Some(self.context.now);
        let kind = EventKind::OrderShipped { order: order.clone() };
        Ok(self.moved(order, kind))
    }

    /// Marks an order as delivered, as its seller.
    pub(super) fn deliver(&mut self, caller: &Party, id: OrderId) -> Result<Decision<Order>, Refusal> {
        let mut order = self.order(id, |order| order.seller == caller.id)?;
        needs(&order, OrderStatus::Shipped)?;
        order.status = OrderStatus::Delivered;
        order.delivered_at = Some(self.context.now);
        let kind = EventKind::OrderDelivered { order: order.clone() };
        Ok(self.moved(order, kind))
    }

    fn moved(&mut self, order: Order, kind: EventKind) -> Decision<Order> {
        // Tills are not notified: shipping and delivery do not change the stock.
        let event = self.event(Audience::Party(order.buyer), kind);
        Decision { outcome: order.clone(), effects: vec![Effect::PutOrder(order), Effect::Emit(event)] }
    }

    /// Returns an order that belongs to the caller. Another party's order is refused like one that does not
    /// exist.
    pub(super) fn order(&self, id: OrderId, is_own: impl Fn(&Order) -> bool) -> Result<Order, Refusal> {
        let found = self.rows.orders.row(id).filter(|order| is_own(order));
        found.cloned().ok_or(Refusal::OrderNotFound(id))
    }
}

pub(super) fn needs(order: &Order, needed: OrderStatus) -> Result<(), Refusal> {
    if order.status == needed {
        Ok(())
    } else {
        Err(Refusal::WrongStatus { order: order.id, status: order.status, needed })
    }
}

/// Merges the lines of each item into one, at the position of the first, so that their sum is checked against
/// the stock.
fn summed_up(lines: &[OrderLine]) -> Result<Vec<OrderLine>, Refusal> {
    let mut summed: Vec<OrderLine> = Vec::with_capacity(lines.len());
    for line in lines {
        // A linear search: there are at most `OrderLine::MAX_AT_ONCE` lines.
        match summed.iter_mut().find(|earlier| earlier.item == line.item) {
            None => summed.push(*line),
            Some(earlier) => {
                let units = earlier.quantity.units() + line.quantity.units();
                // Parsed again, because the sum of two valid quantities may exceed the maximum. It cannot
                // overflow: each is bounded far below `i64::MAX`.
                earlier.quantity = OrderQuantity::parse(units)
                    .map_err(|problem| Refusal::InvalidField { field: "lines", problem })?;
                earlier.expected_unit_price =
                    same_price(line.item, earlier.expected_unit_price, line.expected_unit_price)?;
            }
        }
    }
    Ok(summed)
}

/// Merges the expected prices of two lines for one item, which must agree if both are given.
fn same_price(item: ItemId, one: Option<Money>, other: Option<Money>) -> Result<Option<Money>, Refusal> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Err(Refusal::InvalidField {
            field: "lines",
            problem: Invalid::new(format!("expect two prices of item {item}; give one line for each item")),
        }),
        (one, other) => Ok(one.or(other)),
    }
}

fn total_too_large() -> Refusal {
    Refusal::InvalidField {
        field: "quantity",
        problem: Invalid::new("makes the total larger than 2^63-1 minor units; buy fewer units"),
    }
}
