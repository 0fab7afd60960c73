//! Sales totals of a seller, by SQL aggregation.

use rusqlite::{Connection, Error, Row, params};
use souk_domain::{DaySales, ItemId, ItemSales, Money, PartyId, Sales, SalesSummary, TimeRange};

use super::{
    convert::{blob, unreadable},
    rows::at_most,
};

/// The aggregates. A sum of amounts may exceed 64 bits, on which SQLite's `sum` fails; so the upper and
/// lower halves are summed separately.
const SUMS: &str = "currency, count(*), sum(quantity), sum(total_minor >> 32), sum(total_minor & 4294967295)";

pub(super) fn sales(
    connection: &Connection,
    seller: PartyId,
    placed: TimeRange,
    items: usize,
) -> Result<SalesSummary, Error> {
    let standing =
        "FROM orders WHERE seller = ?1 AND placed_at >= ?2 AND placed_at < ?3 AND status <> 'cancelled'";
    let days = format!("SELECT {SUMS}, placed_at / 86400000000 {standing} GROUP BY 6, 1 ORDER BY 6, 1");
    let days = connection
        .prepare_cached(&days)?
        .query_map(params![blob(seller), placed.from.0, placed.until.0], |row| {
            Ok(DaySales { day: row.get(5)?, sales: sums(row)? })
        })?
        .collect::<Result<_, _>>()?;
    let best = format!(
        "SELECT {SUMS}, item, max(item_name) {standing} GROUP BY 6, 1 ORDER BY 4 DESC, 5 DESC, 6, 1 LIMIT ?4"
    );
    let items = connection
        .prepare_cached(&best)?
        .query_map(params![blob(seller), placed.from.0, placed.until.0, at_most(items)], |row| {
            Ok(ItemSales { item: ItemId(row.get(5)?), name: row.get(6)?, sales: sums(row)? })
        })?
        .collect::<Result<_, _>>()?;
    Ok(SalesSummary { days, items })
}

fn sums(row: &Row<'_>) -> Result<Sales, Error> {
    let (high, low): (i64, i64) = (row.get(3)?, row.get(4)?);
    // Capped at the largest amount.
    let amount = (i128::from(high) << 32) + i128::from(low);
    let amount = i64::try_from(amount).unwrap_or(i64::MAX);
    let currency: String = row.get(0)?;
    let revenue = Money::stored(amount, &currency).map_err(|error| unreadable(0, error))?;
    Ok(Sales { orders: row.get(1)?, units: row.get(2)?, revenue })
}
