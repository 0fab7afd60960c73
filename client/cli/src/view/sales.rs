//! Views of sales summaries. A table has a bar for each row, scaled to the largest.

use serde::Serialize;
use souk_proto::v1;

use super::{MoneyView, time};
use crate::{
    fields::DataField,
    money::format_money,
    output::Shown,
    plain,
    table::{Cell, Column},
};

/// The width of the longest bar of a chart, in characters.
const BAR_WIDTH: i128 = 20;

/// The sales of one day, with a bar proportional to the best day's.
#[derive(Clone, Debug, Serialize)]
pub struct DaySalesView {
    day: String,
    order_count: i64,
    quantity: i64,
    revenue: Option<MoneyView>,
    #[serde(skip)]
    amount: String,
    #[serde(skip)]
    bar: String,
}

/// The sales of one item, with a bar proportional to the best item's.
#[derive(Clone, Debug, Serialize)]
pub struct ItemSalesView {
    item_id: i64,
    item_name: String,
    order_count: i64,
    quantity: i64,
    revenue: Option<MoneyView>,
    #[serde(skip)]
    amount: String,
    #[serde(skip)]
    bar: String,
}

impl DaySalesView {
    /// Returns the days of a summary.
    pub fn all(days: &[v1::DaySales]) -> Vec<Self> {
        let revenues: Vec<_> = days.iter().map(|day| day.revenue.as_ref()).collect();
        let view = |day: &v1::DaySales| Self {
            day: time(day.day.as_ref()).map(|time| time.chars().take(10).collect()).unwrap_or_default(),
            order_count: day.order_count,
            quantity: day.quantity,
            revenue: MoneyView::new(day.revenue.as_ref()),
            amount: format_money(day.revenue.as_ref()),
            bar: bar(day.revenue.as_ref(), &revenues),
        };
        days.iter().map(view).collect()
    }
}

impl ItemSalesView {
    /// Returns the items of a summary.
    pub fn all(items: &[v1::ItemSales]) -> Vec<Self> {
        let revenues: Vec<_> = items.iter().map(|item| item.revenue.as_ref()).collect();
        let view = |item: &v1::ItemSales| Self {
            item_id: item.item_id,
            item_name: plain(&item.item_name),
            order_count: item.order_count,
            quantity: item.quantity,
            revenue: MoneyView::new(item.revenue.as_ref()),
            amount: format_money(item.revenue.as_ref()),
            bar: bar(item.revenue.as_ref(), &revenues),
        };
        items.iter().map(view).collect()
    }
}

/// Draws a bar. Amounts in different currencies can't be compared, so each currency has its own scale.
fn bar(of: Option<&v1::Money>, all: &[Option<&v1::Money>]) -> String {
    let Some(of) = of else { return String::new() };
    let same = all.iter().flatten().filter(|other| other.currency_code == of.currency_code);
    let most = same.map(|other| i128::from(other.amount_minor)).max().unwrap_or(0).max(1);
    let width = (i128::from(of.amount_minor) * BAR_WIDTH + most / 2) / most;
    "█".repeat(usize::try_from(width).unwrap_or(0))
}

impl Shown for DaySalesView {
    const LIST: &'static str = "days";
    const COLUMNS: &'static [Column] = &[
        Column::word("DAY"),
        Column::number("ORDERS").rank(3),
        Column::number("UNITS").rank(2),
        Column::number("REVENUE"),
        Column::word("CHART").rank(1),
    ];
    const FIELDS: &'static [DataField] = &[
        DataField::value("day"),
        DataField::value("order_count"),
        DataField::value("quantity"),
        DataField::money("revenue"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::from(&self.day),
            self.order_count.into(),
            self.quantity.into(),
            Cell::from(&self.amount),
            Cell::from(&self.bar),
        ]
    }
}

impl Shown for ItemSalesView {
    const LIST: &'static str = "items";
    const COLUMNS: &'static [Column] = &[
        Column::number("ITEM"),
        Column::text("NAME"),
        Column::number("ORDERS").rank(3),
        Column::number("UNITS").rank(2),
        Column::number("REVENUE"),
        Column::word("CHART").rank(1),
    ];
    const FIELDS: &'static [DataField] = &[
        DataField::value("item_id"),
        DataField::value("item_name"),
        DataField::value("order_count"),
        DataField::value("quantity"),
        DataField::money("revenue"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.item_id.into(),
            Cell::from(&self.item_name),
            self.order_count.into(),
            self.quantity.into(),
            Cell::from(&self.amount),
            Cell::from(&self.bar),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_compare_within_a_currency() {
        let money = |amount_minor, code: &str| v1::Money { amount_minor, currency_code: code.into() };
        let (small, large, euros) = (money(50, "GBP"), money(100, "GBP"), money(7, "EUR"));
        let all = [Some(&small), Some(&large), Some(&euros)];
        let widths = all.map(|one| bar(one, &all).chars().count());
        assert_eq!(widths, [10, 20, 20]);
        let largest = money(i64::MAX, "GBP");
        assert_eq!(bar(Some(&largest), &[Some(&largest)]).chars().count(), 20);
        assert_eq!(bar(Some(&money(0, "GBP")), &[Some(&money(0, "GBP"))]), "");
    }
}
