//! Sums of sales, which triggers keep as orders happen.

use souk_domain::{
    DayParts, DaySales, ItemId, ItemSales, Money, PartyId, Sales, SalesSummary, TimeRange, day_of,
};
use tokio_postgres::Row;

use super::{
    connection::params,
    convert::{first, get, unreadable},
    error::Failure,
    pool::Pool,
    rows::{all, at_most},
};
use crate::StoreError;

/// The sums of rows of `sales`, or of what has the same columns. The sum is `NUMERIC`, so it can't overflow, and is capped at
/// the largest amount.
macro_rules! sums {
    () => {
        "sold.currency, sum(sold.orders)::BIGINT, sum(sold.units)::BIGINT, least(sum(sold.amount_minor), 9223372036854775807)::BIGINT"
    };
}

/// The rows of a seller (`$1`) to sum up: those of whole days (`$2`, `$3`) and, with `parts`, the orders in two parts of
/// days (`$5` to `$8`).
macro_rules! sold {
    (days) => {
        "SELECT day, item, currency, orders, units, amount_minor FROM sales \
         WHERE seller = $1 AND day >= $2 AND day < $3 AND orders <> 0"
    };
    (parts) => {
        concat!(
            sold!(days),
            " UNION ALL SELECT placed_at / 86400000000, item, currency, 1, quantity, total_minor FROM orders \
             WHERE seller = $1 AND status <> 'cancelled' AND ((placed_at >= $5 AND placed_at < $6) \
             OR (placed_at >= $7 AND placed_at < $8))"
        )
    };
}

macro_rules! by_day {
    ($what:ident) => {
        concat!(
            "WITH sold AS (",
            sold!($what),
            ") SELECT ",
            sums!(),
            ", sold.day FROM sold GROUP BY 5, 1 ORDER BY 5, 1 LIMIT $4"
        )
    };
}

macro_rules! by_item {
    ($what:ident) => {
        concat!(
            "WITH sold AS (",
            sold!($what),
            ") SELECT ",
            sums!(),
            ", sold.item, item.name FROM sold JOIN item ON item.id = sold.item \
             GROUP BY 5, 6, 1 ORDER BY sum(sold.amount_minor) DESC, 5, 1 LIMIT $4"
        )
    };
}

/// Whether orders of a day were archived: then its sums have more than there are orders.
const IS_PARTLY_ARCHIVED: &str = "SELECT EXISTS (SELECT 1 FROM archived JOIN item ON item.id = archived.item \
     WHERE item.seller = $1) AND (SELECT coalesce(sum(orders), 0) FROM sales WHERE seller = $1 AND day = $2) <> \
     (SELECT count(*) FROM orders WHERE seller = $1 AND status <> 'cancelled' AND placed_at >= $2 * 86400000000 \
     AND placed_at < ($2 + 1) * 86400000000)";

const REVENUE: &str =
    concat!("SELECT ", sums!(), " FROM sales AS sold WHERE orders <> 0 GROUP BY 1 ORDER BY 1");

/// Returns a seller's sales. Whole days come from the sums that are kept, parts of days from the orders.
pub(super) async fn sales(
    pool: &Pool,
    seller: PartyId,
    placed: TimeRange,
    items: usize,
) -> Result<SalesSummary, StoreError> {
    let DayParts { days: (first_day, after), edges } = placed.by_days();
    let (by_day, by_item) =
        if edges.is_empty() { (by_day!(days), by_item!(days)) } else { (by_day!(parts), by_item!(parts)) };
    let values = |limit: i64| {
        let mut values = params![seller.0, first_day, after, limit];
        if !edges.is_empty() {
            let ends = |at: usize| edges.get(at).map_or((0, 0), |edge| (edge.from.0, edge.until.0));
            let (one, other) = (ends(0), ends(1));
            values.extend(params![one.0, one.1, other.0, other.1]);
        }
        values
    };
    let days = pool.query(by_day, || values(i64::MAX)).await?;
    let best = pool.query(by_item, || values(at_most(items))).await?;
    let mut cut_days = Vec::new();
    for day in edges.iter().map(|edge| day_of(edge.from)) {
        let found = pool.query(IS_PARTLY_ARCHIVED, || params![seller.0, day]).await?;
        if first(&found, |row| get(row, 0))?.unwrap_or(false) {
            cut_days.push(day);
        }
    }
    Ok(SalesSummary {
        days: all(&days, |row| Ok(DaySales { day: get(row, 4)?, sales: sums(row)? }))?,
        items: all(&best, |row| {
            Ok(ItemSales { item: ItemId(get(row, 4)?), name: get(row, 5)?, sales: sums(row)? })
        })?,
        cut_days,
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
