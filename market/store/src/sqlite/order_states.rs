//! Migration 0004 in steps: orders are shipped and delivered, and either side may cancel. The CHECK of a column can't
//! be changed, so the table is rewritten.
//!
//! The result is that of `migrations/0004_order_states.sql`, which released markets applied in one transaction: a market
//! that was killed in it started from the beginning each time.

use rusqlite::{Connection, Error, params};

use super::migrate::Steps;

pub(super) const ORDER_STATES: Steps = Steps {
    begin: "
CREATE TABLE orders_anew (
    id            INTEGER PRIMARY KEY,
    buyer         BLOB NOT NULL,
    buyer_name    TEXT NOT NULL,
    seller        BLOB NOT NULL,
    seller_name   TEXT NOT NULL,
    item          INTEGER NOT NULL REFERENCES item (id),
    item_name     TEXT NOT NULL,
    amount_minor  INTEGER NOT NULL,
    currency      TEXT NOT NULL,
    quantity      INTEGER NOT NULL CHECK (quantity > 0),
    total_minor   INTEGER NOT NULL CHECK (total_minor = amount_minor * quantity),
    status        TEXT NOT NULL CHECK (status IN ('placed', 'shipped', 'delivered', 'cancelled')),
    placed_at     INTEGER NOT NULL,
    shipped_at    INTEGER,
    delivered_at  INTEGER,
    cancelled_at  INTEGER,
    cancelled_by  TEXT CHECK (cancelled_by IN ('seller', 'buyer')),
    cancel_reason TEXT
) STRICT;",
    step: copy,
    last: "SELECT max(id) FROM orders",
    finish: &[
        "DROP TABLE orders; ALTER TABLE orders_anew RENAME TO orders",
        "CREATE INDEX order_by_buyer ON orders (buyer, id)",
        "CREATE INDEX order_by_seller ON orders (seller, id)",
        "CREATE INDEX order_standing ON orders (buyer, item) WHERE status <> 'cancelled'",
    ],
};

fn copy(connection: &Connection, after: i64) -> Result<Option<i64>, Error> {
    let Some(last) = Steps::last_of_next_orders(connection, after)? else { return Ok(None) };
    let copy = "INSERT INTO orders_anew (id, buyer, buyer_name, seller, seller_name, item, item_name, amount_minor, \
                currency, quantity, total_minor, status, placed_at, cancelled_at, cancelled_by) \
                SELECT id, buyer, buyer_name, seller, seller_name, item, item_name, amount_minor, currency, quantity, \
                total_minor, status, placed_at, cancelled_at, CASE status WHEN 'cancelled' THEN 'buyer' END \
                FROM orders WHERE id > ? AND id <= ?";
    connection.prepare(copy)?.execute(params![after, last])?;
    Ok(Some(last))
}
