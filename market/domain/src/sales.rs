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

    /// Splits the range into its whole days (UTC) and the parts of days at its ends.
    pub fn by_days(&self) -> DayParts {
        let start_of = |day: i64| Timestamp(day.saturating_mul(DAY_MICROS));
        // The bounds of `ALL` count as midnights.
        let is_whole = |time: Timestamp, bound: i64| time.0 == bound || time == start_of(day_of(time));
        let first = day_of(self.from) + i64::from(!is_whole(self.from, i64::MIN));
        let after = day_of(self.until);
        if first > after {
            return DayParts { days: (after, after), edges: vec![*self] };
        }
        let mut edges = Vec::new();
        if !is_whole(self.from, i64::MIN) {
            edges.push(Self { from: self.from, until: start_of(first) });
        }
        if !is_whole(self.until, i64::MAX) {
            edges.push(Self { from: start_of(after), until: self.until });
        }
        DayParts { days: (first, after), edges }
    }

    /// Returns whether the range contains a time.
    pub fn contains(&self, time: Timestamp) -> bool {
        self.from <= time && time < self.until
    }
}

/// A time range as whole days and parts of days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayParts {
    /// The whole days, from the first to before the last, as numbers of days since 1970-01-01.
    pub days: (i64, i64),
    /// The parts of days before and after them, without empty ones.
    pub edges: Vec<TimeRange>,
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
    /// The days of which the range has only a part, if some of their orders were archived: the part that these were in is
    /// no longer known, so the sums leave them out.
    pub cut_days: Vec<i64>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_split_at_midnight() {
        let at = |days: i64, micros: i64| Timestamp(days * DAY_MICROS + micros);
        let range = |from, until| TimeRange { from, until };
        let split = |from, until| {
            let DayParts { days, edges } = range(from, until).by_days();
            (days, edges)
        };
        assert_eq!(split(at(3, 0), at(5, 0)), ((3, 5), vec![]));
        assert_eq!(TimeRange::ALL.by_days().edges, []);
        assert!(
            TimeRange::ALL.by_days().days.0 < -100_000_000 && TimeRange::ALL.by_days().days.1 > 100_000_000
        );
        assert_eq!(split(at(3, 7), at(5, 0)), ((4, 5), vec![range(at(3, 7), at(4, 0))]));
        assert_eq!(split(at(3, 0), at(5, 7)), ((3, 5), vec![range(at(5, 0), at(5, 7))]));
        let both = vec![range(at(3, 7), at(4, 0)), range(at(4, 0), at(4, 9))];
        assert_eq!(split(at(3, 7), at(4, 9)), ((4, 4), both));
        assert_eq!(split(at(3, 7), at(3, 9)), ((3, 3), vec![range(at(3, 7), at(3, 9))]));
        assert_eq!(split(at(-3, 7), at(-1, 0)), ((-2, -1), vec![range(at(-3, 7), at(-2, 0))]));
    }
}
