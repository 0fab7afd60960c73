//! Sales totals of a seller, by SQL aggregation.

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

/// The aggregates. The sum is `NUMERIC`, so it can't overflow, and is capped at the largest amount.
macro_rules! sums {
    () => {
        "currency, count(*), sum(quantity)::BIGINT, least(sum(total_minor), 9223372036854775807)::BIGINT"
    };
}

macro_rules! standing {
    () => {
        " FROM orders WHERE seller = $1 AND placed_at >= $2 AND placed_at < $3 AND status <> 'cancelled'"
    };
}

const DAYS: &str =
    concat!("SELECT ", sums!(), ", placed_at / 86400000000", standing!(), " GROUP BY 5, 1 ORDER BY 5, 1");

const ITEMS: &str = concat!(
    "SELECT ",
    sums!(),
    ", item, max(item_name COLLATE \"C\")",
    standing!(),
    " GROUP BY 5, 1 ORDER BY sum(total_minor) DESC, 5, 1 LIMIT $4"
);

pub(super) async fn sales(
    pool: &Pool,
    seller: PartyId,
    placed: TimeRange,
    items: usize,
) -> Result<SalesSummary, StoreError> {
    let (from, until) = (placed.from.0, placed.until.0);
    let days = pool.query(DAYS, || params![seller.0, from, until]).await?;
    let best = pool.query(ITEMS, || params![seller.0, from, until, at_most(items)]).await?;
    Ok(SalesSummary {
        days: all(&days, |row| Ok(DaySales { day: get(row, 4)?, sales: sums(row)? }))?,
        items: all(&best, |row| {
            Ok(ItemSales { item: ItemId(get(row, 4)?), name: get(row, 5)?, sales: sums(row)? })
        })?,
    })
}

fn sums(row: &Row) -> Result<Sales, Failure> {
    let revenue = Money::stored(get(row, 3)?, get(row, 0)?).map_err(unreadable)?;
    Ok(Sales { orders: get(row, 1)?, units: get(row, 2)?, revenue })
}
