//! Sums of sales: kept by day and item as orders happen, and read for summaries and totals.

use rusqlite::{Connection, Error, Row, params};
use souk_domain::{
    DaySales, ItemId, ItemSales, Money, PartyId, Sales, SalesSummary, Tally, TimeRange, Totals,
};

use super::{
    convert::{PARTY_NUMBER, blob, unreadable},
    rows::at_most,
};

/// The aggregates of one kind of row. A sum of amounts may exceed 64 bits, on which SQLite's `sum` fails; so the upper
/// and lower halves are summed separately.
struct Aggregates {
    orders: &'static str,
    units: &'static str,
    high: &'static str,
    low: &'static str,
}

/// Over orders.
const OF_ORDERS: Aggregates = Aggregates {
    orders: "count(*)",
    units: "sum(sold.quantity)",
    high: "sum(sold.total_minor >> 32)",
    low: "sum(sold.total_minor & 4294967295)",
};

/// Over the sums that are kept, which are halved in the same way.
const OF_SUMS: Aggregates = Aggregates {
    orders: "sum(orders)",
    units: "sum(units)",
    high: "sum(amount_high)",
    low: "sum(amount_low)",
};

impl Aggregates {
    /// The columns that [`sums`] reads.
    fn columns(&self) -> String {
        let Self { orders, units, high, low } = self;
        format!("sold.currency, {orders}, {units}, {high}, {low}")
    }

    /// Orders by the whole amount. The sum of the lower halves may carry over.
    fn largest_first(&self) -> String {
        let Self { high, low, .. } = self;
        format!("{high} + ({low} >> 32) DESC, {low} & 4294967295 DESC")
    }
}

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

/// Returns a seller's sales. Whole days come from the sums that are kept, other ranges from the orders.
pub(super) fn sales(
    connection: &Connection,
    seller: PartyId,
    placed: TimeRange,
    items: usize,
) -> Result<SalesSummary, Error> {
    let (kind, day, table, whose, counts, (from, until)) = match placed.whole_days() {
        Some(days) => (
            OF_SUMS,
            "sold.day",
            "sales",
            "?1",
            "sold.day >= ?2 AND sold.day < ?3 AND sold.orders <> 0",
            days,
        ),
        None => (
            OF_ORDERS,
            "sold.placed_at / 86400000000",
            "orders",
            PARTY_NUMBER,
            "sold.placed_at >= ?2 AND sold.placed_at < ?3 AND sold.status <> 'cancelled'",
            (placed.from.0, placed.until.0),
        ),
    };
    let columns = kind.columns();
    let by_day = format!(
        "SELECT {columns}, {day} FROM {table} AS sold WHERE sold.seller = {whose} AND {counts} GROUP BY 6, 1 \
         ORDER BY 6, 1"
    );
    let days = connection
        .prepare_cached(&by_day)?
        .query_map(params![blob(seller), from, until], |row| {
            Ok(DaySales { day: row.get(5)?, sales: sums(row)? })
        })?
        .collect::<Result<_, _>>()?;
    let by_item = format!(
        "SELECT {columns}, sold.item, item.name FROM {table} AS sold JOIN item ON item.id = sold.item \
         WHERE sold.seller = {whose} AND {counts} GROUP BY 6, 1 ORDER BY {}, 6, 1 LIMIT ?4",
        kind.largest_first()
    );
    let items = connection
        .prepare_cached(&by_item)?
        .query_map(params![blob(seller), from, until, at_most(items)], |row| {
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
    let columns = OF_SUMS.columns();
    let sql = format!("SELECT {columns} FROM sales AS sold WHERE orders <> 0 GROUP BY 1 ORDER BY 1");
    connection.prepare_cached(&sql)?.query_map([], sums)?.collect()
}
