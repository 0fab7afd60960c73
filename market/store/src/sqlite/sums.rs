//! Migration 0009 in steps: sums of sales. There may be any number of orders, and all of them have to be read.

use rusqlite::{Connection, Error, params};

use super::migrate::Steps;

pub(super) const SUMS: Steps = Steps {
    begin: include_str!("migrations/0009_sums.sql"),
    step: add,
    last: "SELECT max(id) FROM orders",
    finish: &[],
};

/// Adds the next orders to the sums.
fn add(connection: &Connection, after: i64) -> Result<Option<i64>, Error> {
    let Some(last) = Steps::last_of_next_orders(connection, after)? else { return Ok(None) };
    let sales = "INSERT INTO sales SELECT seller, placed_at / 86400000000, item, currency, count(*), sum(quantity), \
                 sum(total_minor >> 32), sum(total_minor & 4294967295) \
                 FROM orders WHERE id > ? AND id <= ? AND status <> 'cancelled' GROUP BY 1, 2, 3, 4 \
                 ON CONFLICT DO UPDATE SET orders = orders + excluded.orders, units = units + excluded.units, \
                 amount_high = amount_high + excluded.amount_high, amount_low = amount_low + excluded.amount_low";
    connection.prepare(sales)?.execute(params![after, last])?;
    let total = "UPDATE total SET (orders, ordered) = \
                 (SELECT total.orders + count(*), \
                 total.ordered + coalesce(sum(CASE WHEN status <> 'cancelled' THEN quantity END), 0) \
                 FROM orders WHERE id > ? AND id <= ?)";
    connection.prepare(total)?.execute(params![after, last])?;
    Ok(Some(last))
}
