//! Sums of sales, which triggers keep as orders happen.

use souk_domain::{DaySales, ItemId, ItemSales, Money, PartyId, Sales, SalesSummary, TimeRange};
use tokio_postgres::Row;

use super::{
    connection::params,
    convert::{get, unreadable},
    error::Failure,
    pool::Pool,
    rows::{all, at_most},
};
use crate::StoreError;

/// The aggregates over orders, and over the sums that are kept. The sum is `NUMERIC`, so it can't overflow, and is capped
/// at the largest amount.
macro_rules! sums {
    (orders) => {
        "sold.currency, count(*), sum(sold.quantity)::BIGINT, least(sum(sold.total_minor), 9223372036854775807)::BIGINT"
    };
    (sales) => {
        "sold.currency, sum(sold.orders)::BIGINT, sum(sold.units)::BIGINT, least(sum(sold.amount_minor), 9223372036854775807)::BIGINT"
    };
}

/// The rows of a seller in a range: of times for orders, of days for the sums.
macro_rules! rows {
    (orders) => {
        " WHERE sold.seller = $1 AND sold.placed_at >= $2 AND sold.placed_at < $3 AND sold.status <> 'cancelled'"
    };
    (sales) => {
        " WHERE sold.seller = $1 AND sold.day >= $2 AND sold.day < $3 AND sold.orders <> 0"
    };
}

macro_rules! by_day {
    ($table:ident, $day:literal) => {
        concat!(
            "SELECT ",
            sums!($table),
            ", ",
            $day,
            " FROM ",
            stringify!($table),
            " AS sold",
            rows!($table),
            " GROUP BY 5, 1 ORDER BY 5, 1"
        )
    };
}

macro_rules! by_item {
    ($table:ident, $amount:literal) => {
        concat!(
            "SELECT ",
            sums!($table),
            ", sold.item, item.name FROM ",
            stringify!($table),
            " AS sold JOIN item ON item.id = sold.item",
            rows!($table),
            " GROUP BY 5, 6, 1 ORDER BY sum(",
            $amount,
            ") DESC, 5, 1 LIMIT $4"
        )
    };
}

const REVENUE: &str =
    concat!("SELECT ", sums!(sales), " FROM sales AS sold WHERE orders <> 0 GROUP BY 1 ORDER BY 1");

/// Returns a seller's sales. Whole days come from the sums that are kept, other ranges from the orders.
pub(super) async fn sales(
    pool: &Pool,
    seller: PartyId,
    placed: TimeRange,
    items: usize,
) -> Result<SalesSummary, StoreError> {
    let ((from, until), by_day, by_item) = match placed.whole_days() {
        Some(days) => (days, by_day!(sales, "sold.day"), by_item!(sales, "sold.amount_minor")),
        None => (
            (placed.from.0, placed.until.0),
            by_day!(orders, "sold.placed_at / 86400000000"),
            by_item!(orders, "sold.total_minor"),
        ),
    };
    let days = pool.query(by_day, || params![seller.0, from, until]).await?;
    let best = pool.query(by_item, || params![seller.0, from, until, at_most(items)]).await?;
    Ok(SalesSummary {
        days: all(&days, |row| Ok(DaySales { day: get(row, 4)?, sales: sums(row)? }))?,
        items: all(&best, |row| {
            Ok(ItemSales { item: ItemId(get(row, 4)?), name: get(row, 5)?, sales: sums(row)? })
        })?,
    })
}

/// Returns the revenue of the whole store by currency, in the order of the codes.
pub(super) async fn revenue(pool: &Pool) -> Result<Vec<Sales>, StoreError> {
    all(&pool.query(REVENUE, Vec::new).await?, sums)
}

fn sums(row: &Row) -> Result<Sales, Failure> {
    let revenue = Money::stored(get(row, 3)?, get(row, 0)?).map_err(unreadable)?;
    Ok(Sales { orders: get(row, 1)?, units: get(row, 2)?, revenue })
}
