//! Sales totals of a seller.

use std::{cmp::Reverse, collections::BTreeMap};

use souk_domain::{DaySales, ItemSales, Money, Order, Sales, SalesSummary};

const DAY_MICROS: i64 = 86_400_000_000;

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

    fn sales(&self, currency: &str) -> Option<Sales> {
        let amount = i64::try_from(self.amount_minor).unwrap_or(i64::MAX);
        let revenue = Money::stored(amount, currency).ok()?;
        Some(Sales { orders: self.orders, units: self.units, revenue })
    }
}

/// Sums up orders, which must not include cancelled ones.
pub(super) fn of<'a>(orders: impl Iterator<Item = &'a Order>, items: usize) -> SalesSummary {
    let (mut by_day, mut by_item) = (BTreeMap::<_, Sum>::new(), BTreeMap::<_, (Sum, String)>::new());
    for order in orders {
        let currency = order.unit_price.currency_code();
        by_day.entry((order.placed_at.0.div_euclid(DAY_MICROS), currency)).or_default().add(order);
        let (sum, name) = by_item.entry((order.item, currency)).or_default();
        sum.add(order);
        let named = order.item_name.as_str();
        if named > name.as_str() {
            named.clone_into(name);
        }
    }
    let days = by_day
        .into_iter()
        .filter_map(|((day, currency), sum)| sum.sales(currency).map(|sales| DaySales { day, sales }));
    let mut best: Vec<_> = by_item.into_iter().collect();
    best.sort_by_key(|(_, (sum, _))| Reverse(sum.amount_minor));
    let best = best.into_iter().take(items).filter_map(|((item, currency), (sum, name))| {
        sum.sales(currency).map(|sales| ItemSales { item, name, sales })
    });
    SalesSummary { days: days.collect(), items: best.collect() }
}
