//! What was sold in a time, and the sums by which accounts are checked.

use super::{ItemId, Money, Timestamp};

/// A span of time: from `from` on, up to but without `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
}

impl TimeRange {
    /// Whenever.
    pub const ALL: Self = Self { from: Timestamp(i64::MIN), until: Timestamp(i64::MAX) };

    /// Whether a time is in it.
    pub fn contains(&self, time: Timestamp) -> bool {
        self.from <= time && time < self.until
    }
}

/// Standing orders, summed up; in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sales {
    /// How many orders.
    pub orders: i64,
    /// Of how many units together.
    pub units: i64,
    /// What they come to; 2⁶³−1 minor units when it is more.
    pub revenue: Money,
}

/// What was sold in one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaySales {
    /// The day, in days since 1970 (UTC).
    pub day: i64,
    /// Its sales.
    pub sales: Sales,
}

/// What was sold of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemSales {
    /// The item.
    pub item: ItemId,
    /// A name that it had in one of the orders.
    pub name: String,
    /// Its sales.
    pub sales: Sales,
}

/// What a seller took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SalesSummary {
    /// By day and currency, earliest first.
    pub days: Vec<DaySales>,
    /// By item and currency, largest revenue first.
    pub items: Vec<ItemSales>,
}

/// Sums over the whole store, by which the accounts can be checked: `supplied = sold + remaining +
/// withdrawn`, and `sold = ordered`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Registered parties.
    pub parties: i64,
    /// Items, deleted ones included.
    pub items: i64,
    /// Orders, cancelled ones included.
    pub orders: i64,
    /// Units ever listed or restocked.
    pub supplied: i64,
    /// Units sold, by the items.
    pub sold: i64,
    /// Units in standing orders, by the orders.
    pub ordered: i64,
    /// Units for sale.
    pub remaining: i64,
    /// Units withdrawn.
    pub withdrawn: i64,
    /// Deliveries waiting.
    pub pending_deliveries: i64,
}
