//! `seller today`: the work to do, and the state of the shop.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use serde::Serialize;
use souk_cli::{
    Cell, CliSession, Column, DataField, Failure, Shown, When, format_money, plain,
    view::{DaySalesView, ItemView, MoneyView, OrderView},
};
use souk_proto::{
    Timestamp,
    v1::{DaySales, ListSalesRequest, Money, Order, OrderStatus, Role, SummarizeSalesResponse},
};

use super::{pick::shop, sales};

/// The days of the chart.
const DAYS: i64 = 14;
const SECONDS_OF_DAY: i64 = 86_400;
/// The maximum number of rows shown of each list.
const SHOWN: usize = 10;
/// The number of latest orders that are read for the last events.
const LATEST: i32 = 200;

/// Show what is to be shipped, what runs low, the revenue of today and the last 14 days, and the last events
#[derive(Args)]
#[command(after_help = "Examples:\n  seller today\n  seller today --below 20")]
pub(crate) struct Today {
    /// Items of which fewer units are left run low.
    #[arg(long, value_name = "UNITS", default_value_t = 5)]
    below: i64,
}

/// Everything at once, for programs.
#[derive(Serialize)]
struct TodayView {
    to_ship_count: usize,
    to_ship: Vec<OrderView>,
    low_stock_count: usize,
    low_stock: Vec<ItemView>,
    /// By currency.
    revenue_today: Vec<MoneyView>,
    #[serde(skip)]
    revenue: Vec<String>,
    days: Vec<DaySalesView>,
    events: Vec<EventRow>,
}

impl Shown for TodayView {
    const LIST: &'static str = "days";
    const COLUMNS: &'static [Column] =
        &[Column::number("TO SHIP"), Column::number("LOW STOCK"), Column::prose("REVENUE TODAY")];
    const SELECTABLE: &'static [DataField] = &[
        DataField::value("to_ship_count"),
        DataField::value("to_ship"),
        DataField::value("low_stock_count"),
        DataField::value("low_stock"),
        DataField::value("revenue_today"),
        DataField::value("days"),
        DataField::value("events"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.to_ship_count.to_string().into(),
            self.low_stock_count.to_string().into(),
            self.revenue.join(" and ").into(),
        ]
    }
}

/// Something that happened to an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct EventRow {
    time: Option<When>,
    event: &'static str,
    order_id: i64,
    item_name: String,
    quantity: i64,
    buyer_name: String,
}

impl Shown for EventRow {
    const LIST: &'static str = "events";
    const COLUMNS: &'static [Column] = &[
        Column::word("TIME"),
        Column::word("EVENT"),
        Column::number("ORDER"),
        Column::text("NAME"),
        Column::number("UNITS").rank(2),
        Column::text("BUYER").rank(1),
    ];
    const SELECTABLE: &'static [DataField] = &[
        DataField::value("time"),
        DataField::value("event"),
        DataField::value("order_id"),
        DataField::value("item_name"),
        DataField::value("quantity"),
        DataField::value("buyer_name"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::time(self.time),
            self.event.into(),
            self.order_id.into(),
            Cell::from(&self.item_name),
            self.quantity.into(),
            Cell::from(&self.buyer_name),
        ]
    }
}

impl Today {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let placed = ListSalesRequest { status: OrderStatus::Placed.into(), ..Default::default() };
        let mut to_ship = shop::sales(session, placed, |_| true).await?;
        // Oldest first.
        to_ship.reverse();
        let mut low = shop::items(session, false, |item| item.quantity < self.below).await?;
        low.sort_by_key(|item| item.quantity);
        let summary = sales::last_days(session, DAYS, 1).await?;
        let today = session.clock().now().unix_timestamp().div_euclid(SECONDS_OF_DAY);
        let revenue = revenue_of(&summary, today);
        let latest = session.call(ListSalesRequest { page_size: LATEST, ..Default::default() }).await?;
        let view = TodayView {
            to_ship_count: to_ship.len(),
            to_ship: to_ship.iter().take(SHOWN).map(OrderView::from).collect(),
            low_stock_count: low.len(),
            low_stock: low.iter().take(SHOWN).map(ItemView::from).collect(),
            revenue_today: revenue.iter().copied().filter_map(|money| MoneyView::new(Some(money))).collect(),
            revenue: revenue.iter().map(|money| format_money(Some(money))).collect(),
            days: DaySalesView::all(&every_day(&summary, today)),
            events: last_events(&latest.orders),
        };
        if session.printer().is_for_people() {
            self.print(session, &view)
        } else {
            session.printer().one(&view)
        }
    }

    fn print(&self, session: &CliSession, view: &TodayView) -> Result<(), Failure> {
        let (to_ship, low) = (view.to_ship_count, view.low_stock_count);
        section(session, &title("To ship", to_ship, view.to_ship.len()), &view.to_ship)?;
        let heading = format!("\nFewer than {} units left", self.below);
        section(session, &title(&heading, low, view.low_stock.len()), &view.low_stock)?;
        let revenue = match view.revenue.as_slice() {
            [] => "nothing".to_owned(),
            amounts => amounts.join(" and "),
        };
        section(session, &format!("\nRevenue today (UTC): {revenue}; the last {DAYS} days:"), &view.days)?;
        section(session, "\nLast events:", &view.events)
    }
}

fn title(heading: &str, count: usize, shown: usize) -> String {
    if count > shown {
        format!("{heading}: {count}, of which {shown} are shown")
    } else {
        format!("{heading}: {count}")
    }
}

fn section<T: Shown>(session: &CliSession, heading: &str, rows: &[T]) -> Result<(), Failure> {
    session.printer().say(heading);
    if rows.is_empty() { Ok(()) } else { session.printer().list(rows) }
}

fn day_of(day: &DaySales) -> i64 {
    day.day.as_ref().map_or(0, |day| day.seconds.div_euclid(SECONDS_OF_DAY))
}

fn revenue_of(summary: &SummarizeSalesResponse, day: i64) -> Vec<&Money> {
    let sold = summary.days.iter().filter(|sales| day_of(sales) == day);
    sold.filter_map(|sales| sales.revenue.as_ref()).collect()
}

/// Adds the days without sales, which a summary omits, so that the chart has a bar for every day.
fn every_day(summary: &SummarizeSalesResponse, today: i64) -> Vec<DaySales> {
    let code =
        |day: &DaySales| day.revenue.as_ref().map(|money| money.currency_code.clone()).unwrap_or_default();
    let codes: BTreeSet<String> = summary.days.iter().map(code).collect();
    let sold: BTreeMap<(i64, String), &DaySales> =
        summary.days.iter().map(|day| ((day_of(day), code(day)), day)).collect();
    let all = (today - DAYS + 1..=today).flat_map(|day| codes.iter().map(move |code| (day, code.clone())));
    all.map(|key| match sold.get(&key) {
        Some(day) => (*day).clone(),
        None => {
            let (day, currency_code) = key;
            DaySales {
                day: Some(Timestamp { seconds: day * SECONDS_OF_DAY, nanos: 0 }),
                revenue: Some(Money { amount_minor: 0, currency_code }),
                ..Default::default()
            }
        }
    })
    .collect()
}

/// Returns the latest changes of the orders, latest first.
fn last_events(orders: &[Order]) -> Vec<EventRow> {
    let mut events: Vec<(&Timestamp, &'static str, &Order)> = Vec::new();
    for order in orders {
        let cancelled =
            if order.cancelled_by() == Role::Buyer { "cancelled by the buyer" } else { "cancelled" };
        let steps = [
            (&order.place_time, "placed"),
            (&order.ship_time, "shipped"),
            (&order.deliver_time, "delivered"),
            (&order.cancel_time, cancelled),
        ];
        events.extend(steps.into_iter().filter_map(|(time, event)| Some((time.as_ref()?, event, order))));
    }
    events.sort_by_key(|(time, ..)| std::cmp::Reverse((time.seconds, time.nanos)));
    let row = |(at, event, order): (&Timestamp, &'static str, &Order)| EventRow {
        time: When::of(Some(at)),
        event,
        order_id: order.order_id,
        item_name: plain(&order.item_name),
        quantity: order.quantity,
        buyer_name: plain(&order.buyer_name),
    };
    events.into_iter().take(SHOWN).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sales(day: i64, amount_minor: i64, code: &str) -> DaySales {
        DaySales {
            day: Some(Timestamp { seconds: day * SECONDS_OF_DAY, nanos: 0 }),
            order_count: 1,
            quantity: 1,
            revenue: Some(Money { amount_minor, currency_code: code.into() }),
        }
    }

    #[test]
    fn the_chart_has_every_day_of_each_currency() {
        let days = vec![sales(95, 700, "GBP"), sales(100, 900, "EUR"), sales(100, 500, "GBP")];
        let summary = SummarizeSalesResponse { days, ..Default::default() };
        let all = every_day(&summary, 100);
        assert_eq!(all.len(), 28);
        let of = |day: i64| {
            let found = all.iter().filter(|sales| day_of(sales) == day);
            found
                .map(|sales| sales.revenue.as_ref().map_or(0, |money| money.amount_minor))
                .collect::<Vec<_>>()
        };
        assert_eq!((of(87), of(95), of(100)), (vec![0, 0], vec![0, 700], vec![900, 500]));
        let today: Vec<_> = revenue_of(&summary, 100).iter().map(|money| money.amount_minor).collect();
        assert_eq!(today, [900, 500]);
        assert!(every_day(&SummarizeSalesResponse::default(), 100).is_empty());
    }

    #[test]
    fn events_are_the_steps_of_orders_latest_first() {
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let orders = [
            Order {
                order_id: 2,
                place_time: at(20),
                cancel_time: at(50),
                cancelled_by: Role::Buyer.into(),
                ..Default::default()
            },
            Order { order_id: 1, place_time: at(10), ship_time: at(40), ..Default::default() },
        ];
        let events: Vec<_> =
            last_events(&orders).into_iter().map(|event| (event.order_id, event.event)).collect();
        assert_eq!(events, [(2, "cancelled by the buyer"), (1, "shipped"), (2, "placed"), (1, "placed")]);
    }
}
