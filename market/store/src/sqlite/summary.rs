//! Sums of sales: kept by day and item as orders happen, and read for summaries and totals.

use rusqlite::{Connection, Error, Row, params, params_from_iter, types::Value};
use souk_domain::{
    DAY_MICROS, DayParts, DaySales, ItemId, ItemSales, Money, PartyId, Sales, SalesSummary, Tally, TimeRange,
    Totals, day_of,
};

use super::{
    convert::{PARTY_NUMBER, blob, unreadable},
    rows::at_most,
};

/// The columns that [`sums`] reads. A sum of amounts may exceed 64 bits, on which SQLite's `sum` fails; so the upper and lower
/// halves are summed separately.
const SUMS: &str =
    "sold.currency, sum(sold.orders), sum(sold.units), sum(sold.amount_high), sum(sold.amount_low)";

/// Orders by the whole amount. The sum of the lower halves may carry over.
const LARGEST_FIRST: &str = "sum(sold.amount_high) + (sum(sold.amount_low) >> 32) DESC, \
                             sum(sold.amount_low) & 4294967295 DESC";

/// The lower half of an amount.
const LOW: i128 = 0xffff_ffff;

/// Adds what a batch has changed, one row per key.
pub(super) fn save(connection: &Connection, tally: &Tally) -> Result<(), Error> {
    let Totals { parties, items, orders, supplied, sold, ordered, remaining, withdrawn, .. } = tally.totals;
    if tally.totals != Totals::default() {
        let mut add = connection.prepare_cached(
            "UPDATE total SET parties = parties + ?1, items = items + ?2, orders = orders + ?3, \
             supplied = supplied + ?4, sold = sold + ?5, ordered = ordered + ?6, remaining = remaining + ?7, \
             withdrawn = withdrawn + ?8",
        )?;
        add.execute(params![parties, items, orders, supplied, sold, ordered, remaining, withdrawn])?;
    }
    if tally.sales.is_empty() {
        return Ok(());
    }
    let mut add = connection.prepare_cached(
        "INSERT INTO sales (seller, day, item, currency, orders, units, amount_high, amount_low) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO UPDATE SET orders = orders + ?5, units = units + ?6, \
         amount_high = amount_high + ?7, amount_low = amount_low + ?8",
    )?;
    for (key, change) in &tally.sales {
        let (high, low) = halves(change.amount_minor);
        let (seller, item) = (blob(key.seller), key.item.0);
        add.execute(params![seller, key.day, item, key.currency, change.orders, change.units, high, low])?;
    }
    Ok(())
}

/// Splits an amount so that each half can be summed up in 64 bits. Negative amounts have two negative halves.
fn halves(amount: i128) -> (i64, i64) {
    let (high, low) = (amount.abs() >> 32, amount.abs() & LOW);
    let half = |part: i128| i64::try_from(part * amount.signum()).unwrap_or(i64::MAX);
    (half(high), half(low))
}

/// Returns a seller's sales. Whole days come from the sums that are kept, parts of days from the orders.
pub(super) fn sales(
    connection: &Connection,
    seller: PartyId,
    placed: TimeRange,
    items: usize,
) -> Result<SalesSummary, Error> {
    let DayParts { days: (first, after), edges } = placed.by_days();
    let sold = sold(edges.len());
    let values = |limit: i64| {
        let ends = edges.iter().flat_map(|edge| [edge.from.0, edge.until.0]);
        let numbers = [limit, first, after].into_iter().chain(ends).map(Value::Integer);
        params_from_iter([Value::Blob(blob(seller).to_vec())].into_iter().chain(numbers))
    };
    let by_day =
        format!("WITH {sold} SELECT {SUMS}, sold.day FROM sold GROUP BY 6, 1 ORDER BY 6, 1 LIMIT ?2");
    let days = connection
        .prepare_cached(&by_day)?
        .query_map(values(i64::MAX), |row| Ok(DaySales { day: row.get(5)?, sales: sums(row)? }))?
        .collect::<Result<_, _>>()?;
    let by_item = format!(
        "WITH {sold} SELECT {SUMS}, sold.item, item.name FROM sold JOIN item ON item.id = sold.item \
         GROUP BY 6, 1 ORDER BY {LARGEST_FIRST}, 6, 1 LIMIT ?2"
    );
    let items = connection
        .prepare_cached(&by_item)?
        .query_map(values(at_most(items)), |row| {
            Ok(ItemSales { item: ItemId(row.get(5)?), name: row.get(6)?, sales: sums(row)? })
        })?
        .collect::<Result<_, _>>()?;
    let mut cut_days = Vec::new();
    for day in edges.iter().map(|edge| day_of(edge.from)) {
        if is_partly_archived(connection, seller, day)? {
            cut_days.push(day);
        }
    }
    Ok(SalesSummary { days, items, cut_days })
}

/// Returns the rows to sum up, as a table expression with this many parts of days. Its parameters are the seller (1), the
/// days (3, 4) and the ends of each part (from 5 on).
fn sold(edges: usize) -> String {
    let mut sold = String::from(
        "sold AS (SELECT day, item, currency, orders, units, amount_high, amount_low FROM sales \
         WHERE seller = ?1 AND day >= ?3 AND day < ?4 AND orders <> 0",
    );
    for edge in 0..edges {
        let (from, until) = (5 + 2 * edge, 6 + 2 * edge);
        sold.push_str(&format!(
            " UNION ALL SELECT placed_at / {DAY_MICROS}, item, currency, 1, quantity, total_minor >> 32, \
             total_minor & 4294967295 FROM orders WHERE seller = {PARTY_NUMBER} AND status <> 'cancelled' \
             AND placed_at >= ?{from} AND placed_at < ?{until}"
        ));
    }
    sold.push(')');
    sold
}

/// Returns whether orders of a day were archived: then its sums have more than there are orders.
fn is_partly_archived(connection: &Connection, seller: PartyId, day: i64) -> Result<bool, Error> {
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM archived JOIN item ON item.id = archived.item WHERE item.seller = ?1) AND \
         (SELECT coalesce(sum(orders), 0) FROM sales WHERE seller = ?1 AND day = ?2) <> (SELECT count(*) FROM orders \
         WHERE seller = {PARTY_NUMBER} AND status <> 'cancelled' AND placed_at >= ?2 * {DAY_MICROS} \
         AND placed_at < (?2 + 1) * {DAY_MICROS})"
    );
    connection.prepare_cached(&sql)?.query_row(params![blob(seller), day], |row| row.get(0))
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

/// Returns the totals over the whole store.
pub(super) fn totals(connection: &Connection) -> Result<Totals, Error> {
    let sql = "SELECT parties, items, orders, supplied, sold, ordered, remaining, withdrawn, \
               (SELECT count(*) FROM delivery) FROM total";
    connection.prepare_cached(sql)?.query_row([], |row| {
        Ok(Totals {
            parties: row.get(0)?,
            items: row.get(1)?,
            orders: row.get(2)?,
            supplied: row.get(3)?,
            sold: row.get(4)?,
            ordered: row.get(5)?,
            remaining: row.get(6)?,
            withdrawn: row.get(7)?,
            pending_deliveries: row.get(8)?,
        })
    })
}

/// Returns the revenue of the whole store by currency, in the order of the codes.
pub(super) fn revenue(connection: &Connection) -> Result<Vec<Sales>, Error> {
    let sql = format!("SELECT {SUMS} FROM sales AS sold WHERE orders <> 0 GROUP BY 1 ORDER BY 1");
    connection.prepare_cached(&sql)?.query_map([], sums)?.collect()
}
