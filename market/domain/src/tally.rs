//! What a batch adds to the sums that are kept while orders happen.

use std::collections::BTreeMap;

use super::{Item, ItemId, Order, PartyId, Totals, day_of};

/// One sum of sales. In this order, which is the order in which rows are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SalesKey {
    /// The seller.
    pub seller: PartyId,
    /// The day on which the orders were placed, as the number of days since 1970-01-01 (UTC).
    pub day: i64,
    /// The item that was sold.
    pub item: ItemId,
    /// The currency's three-letter code.
    pub currency: &'static str,
}

/// A change of a sum: negative when orders were cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SalesChange {
    /// The number of orders.
    pub orders: i64,
    /// The number of units.
    pub units: i64,
    /// The sum of the order totals in minor units. Wider than one amount, which may be as large as `i64`.
    pub amount_minor: i128,
}

/// The changes of all sums. Derived from the rows that the batch changes.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The change of the totals over the whole store, without the pending deliveries.
    pub totals: Totals,
    /// The changes of the sums of sales.
    pub sales: BTreeMap<SalesKey, SalesChange>,
}

impl Tally {
    pub(super) fn add_party(&mut self, is_new: bool) {
        self.totals.parties += i64::from(is_new);
    }

    pub(super) fn add_item(&mut self, before: Option<&Item>, after: &Item) {
        let change = |of: fn(&Item) -> i64| of(after) - before.map_or(0, of);
        self.totals.items += i64::from(before.is_none());
        self.totals.supplied += change(|item| item.supplied);
        self.totals.sold += change(|item| item.sold);
        self.totals.remaining += change(|item| item.quantity);
        self.totals.withdrawn += change(|item| item.withdrawn);
    }

    pub(super) fn add_order(&mut self, before: Option<&Order>, after: &Order) {
        self.totals.orders += i64::from(before.is_none());
        let stood = before.is_some_and(|before| before.status.stands());
        // An order's item, units and price never change, so it counts as a whole or not at all.
        let orders = i64::from(after.status.stands()) - i64::from(stood);
        if orders == 0 {
            return;
        }
        self.totals.ordered += orders * after.quantity;
        let key = SalesKey {
            seller: after.seller,
            day: day_of(after.placed_at),
            item: after.item,
            currency: after.unit_price.currency_code(),
        };
        let sum = self.sales.entry(key).or_default();
        sum.orders += orders;
        sum.units += orders * after.quantity;
        sum.amount_minor += i128::from(orders) * i128::from(after.total_price.amount_minor());
    }
}
