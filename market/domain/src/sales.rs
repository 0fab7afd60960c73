//! Sales summaries and store-wide totals.

use super::{ItemId, Money, Timestamp};

/// The microseconds of a day, by which sales are summed up (UTC).
pub const DAY_MICROS: i64 = 86_400_000_000;

/// Returns the day of a time as the number of days since 1970-01-01 (UTC).
pub fn day_of(time: Timestamp) -> i64 {
    time.0.div_euclid(DAY_MICROS)
}

/// A half-open span of time: `from` is included, `until` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// The first instant of the range.
    pub from: Timestamp,
    /// The first instant after the range.
    pub until: Timestamp,
}

impl TimeRange {
    /// All of time, for queries without bounds.
    pub const ALL: Self = Self { from: Timestamp(i64::MIN), until: Timestamp(i64::MAX) };

    /// Returns the days of the range, from the first to before the last, if it consists of whole days (UTC).
    pub fn whole_days(&self) -> Option<(i64, i64)> {
        let is_whole = |time: Timestamp, bound: i64| time.0 == bound || time.0.rem_euclid(DAY_MICROS) == 0;
        let is_made_of_days = is_whole(self.from, i64::MIN) && is_whole(self.until, i64::MAX);
        is_made_of_days.then(|| (day_of(self.from), day_of(self.until)))
    }

    /// Returns whether the range contains a time.
    pub fn contains(&self, time: Timestamp) -> bool {
        self.from <= time && time < self.until
    }
}

/// Totals over orders that were not cancelled, in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sales {
    /// The number of orders.
    pub orders: i64,
    /// The number of units sold.
    pub units: i64,
    /// The sum of the order totals, capped at 2⁶³−1 minor units.
    pub revenue: Money,
}

/// The sales of one day in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaySales {
    /// The day as the number of days since 1970-01-01 (UTC).
    pub day: i64,
    /// The totals of the day.
    pub sales: Sales,
}

/// The sales of one item in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemSales {
    /// The item that was sold.
    pub item: ItemId,
    /// The item's present name.
    pub name: String,
    /// The totals of the item.
    pub sales: Sales,
}

/// A seller's sales in a time range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SalesSummary {
    /// The sales by day and currency, earliest first.
    pub days: Vec<DaySales>,
    /// The sales by item and currency, largest revenue first.
    pub items: Vec<ItemSales>,
}

/// Totals over the whole store, for consistency checks: `supplied = sold + remaining + withdrawn`, and `sold
/// = ordered`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The number of registered parties.
    pub parties: i64,
    /// The number of items, including deleted ones.
    pub items: i64,
    /// The number of orders, including cancelled ones.
    pub orders: i64,
    /// The units ever listed or restocked.
    pub supplied: i64,
    /// The units sold, according to the items.
    pub sold: i64,
    /// The units in orders that were not cancelled, according to the orders.
    pub ordered: i64,
    /// The units in stock.
    pub remaining: i64,
    /// The units that sellers removed.
    pub withdrawn: i64,
    /// The number of pending deliveries.
    pub pending_deliveries: i64,
}
