//! Sales totals of a seller.

use std::{cmp::Reverse, collections::BTreeMap};

use souk_domain::{
    DaySales, ItemId, ItemSales, Money, Order, Sales, SalesChange, SalesKey, SalesSummary, day_of,
};

#[derive(Default)]
struct Sum {
    orders: i64,
    units: i64,
    amount_minor: i128,
}

impl Sum {
    fn add(&mut self, order: &Order) {
        self.orders += 1;
        self.units += order.quantity;
        self.amount_minor += i128::from(order.total_price.amount_minor());
    }

    fn add_archived(&mut self, sum: &SalesChange) {
        self.orders += sum.orders;
        self.units += sum.units;
        self.amount_minor += sum.amount_minor;
    }

    fn sales(&self, currency: &str) -> Option<Sales> {
        let amount = i64::try_from(self.amount_minor).unwrap_or(i64::MAX);
        let revenue = Money::stored(amount, currency).ok()?;
        Some(Sales { orders: self.orders, units: self.units, revenue })
    }
}

/// Sums up orders, which must not include cancelled ones, and the sums of archived ones. `name` returns the present name
/// of an item.
pub(super) fn of<'a>(
    orders: impl Iterator<Item = &'a Order>,
    archived: impl Iterator<Item = (&'a SalesKey, &'a SalesChange)>,
    items: usize,
    name: impl Fn(ItemId) -> String,
) -> SalesSummary {
    let (mut by_day, mut by_item) = (BTreeMap::<_, Sum>::new(), BTreeMap::<_, Sum>::new());
    for order in orders {
        let currency = order.unit_price.currency_code();
        by_day.entry((day_of(order.placed_at), currency)).or_default().add(order);
        by_item.entry((order.item, currency)).or_default().add(order);
    }
    for (key, sum) in archived {
        by_day.entry((key.day, key.currency)).or_default().add_archived(sum);
        by_item.entry((key.item, key.currency)).or_default().add_archived(sum);
    }
    let days = by_day
        .into_iter()
        .filter_map(|((day, currency), sum)| sum.sales(currency).map(|sales| DaySales { day, sales }));
    let mut best: Vec<_> = by_item.into_iter().collect();
    best.sort_by_key(|(_, sum)| Reverse(sum.amount_minor));
    let best = best.into_iter().take(items).filter_map(|((item, currency), sum)| {
        sum.sales(currency).map(|sales| ItemSales { item, name: name(item), sales })
    });
    SalesSummary { days: days.collect(), items: best.collect(), cut_days: Vec::new() }
}

/// Sums up orders by currency, which must not include cancelled ones, and the sums of archived ones.
pub(super) fn by_currency<'a>(
    orders: impl Iterator<Item = &'a Order>,
    archived: impl Iterator<Item = (&'a SalesKey, &'a SalesChange)>,
) -> Vec<Sales> {
    let mut sums = BTreeMap::<_, Sum>::new();
    for order in orders {
        sums.entry(order.unit_price.currency_code()).or_default().add(order);
    }
    for (key, sum) in archived {
        sums.entry(key.currency).or_default().add_archived(sum);
    }
    sums.into_iter().filter_map(|(currency, sum)| sum.sales(currency)).collect()
}
