//! Conversion of a market's figures to messages.

use souk_domain::{Sales, Timestamp, Totals};
use souk_proto::v1;

use super::show::{money, timestamp};

/// Converts the figures of the store, and the orders of the last minute and hour.
pub fn stats(
    totals: &Totals,
    revenue: &[Sales],
    started: Timestamp,
    (minute, hour): (u64, u64),
) -> v1::StatsResponse {
    let sales = revenue.iter().map(|sales| v1::CurrencySales {
        order_count: sales.orders,
        quantity: sales.units,
        revenue: Some(money(sales.revenue)),
    });
    v1::StatsResponse {
        start_time: Some(timestamp(started)),
        party_count: totals.parties,
        item_count: totals.items,
        order_count: totals.orders,
        remaining_quantity: totals.remaining,
        sold_quantity: totals.ordered,
        sales: sales.collect(),
        pending_event_count: totals.pending_deliveries,
        orders_last_minute: i64::try_from(minute).unwrap_or(i64::MAX),
        orders_last_hour: i64::try_from(hour).unwrap_or(i64::MAX),
        ..v1::StatsResponse::default()
    }
}
