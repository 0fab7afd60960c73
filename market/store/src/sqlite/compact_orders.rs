//! Migration 0017: orders refer to parties by their numbers, and leave out names that can be found elsewhere.

use rusqlite::{Connection, Error, params};

use super::migrate::Steps;

pub(super) const COMPACT_ORDERS: Steps = Steps {
    begin: include_str!("migrations/0017_compact_orders.sql"),
    step: copy,
    last: "SELECT max(id) FROM orders",
    finish: &[
        "DROP TABLE orders; ALTER TABLE orders_anew RENAME TO orders",
        "CREATE INDEX order_by_buyer ON orders (buyer, id)",
        "CREATE INDEX order_by_seller ON orders (seller, id)",
        "CREATE INDEX order_standing ON orders (buyer, item) WHERE status <> 'cancelled'",
        PARTY_RENAMED,
    ],
};

/// Notes a name that orders have, when it is replaced: those that the party placed or received since it was replaced last.
/// Created last, because it refers to the new table and its indexes.
const PARTY_RENAMED: &str = "CREATE TRIGGER party_renamed AFTER UPDATE OF display_name ON party \
     WHEN old.display_name <> new.display_name \
     AND max(coalesce((SELECT max(id) FROM orders WHERE buyer = old.number), 0), \
     coalesce((SELECT max(id) FROM orders WHERE seller = old.number), 0)) \
     > coalesce((SELECT max(through) FROM former_party_name WHERE party = old.number), 0) BEGIN \
     INSERT INTO former_party_name SELECT old.number, value, old.display_name FROM counter \
     WHERE counter.name = 'order'; END";

/// Copies the next orders. Which names were replaced in the past is not known, so an order keeps every name that is not
/// the present one.
fn copy(connection: &Connection, after: i64) -> Result<Option<i64>, Error> {
    let Some(last) = Steps::last_of_next_orders(connection, after)? else { return Ok(None) };
    // Parties are never deleted. Were one missing all the same, this would fail instead of losing its orders.
    let copy = "INSERT INTO orders_anew (id, buyer, buyer_name, seller, seller_name, item, item_name, amount_minor, \
                currency, quantity, total_minor, status, placed_at, shipped_at, delivered_at, cancelled_at, \
                cancelled_by, cancel_reason, ride) \
                SELECT orders.id, buyer.number, nullif(buyer_name, buyer.display_name), seller.number, \
                nullif(seller_name, seller.display_name), item, \
                iif(status = 'cancelled', item_name, nullif(item_name, item.name)), orders.amount_minor, orders.currency, \
                orders.quantity, total_minor, status, placed_at, shipped_at, delivered_at, \
                cancelled_at, cancelled_by, cancel_reason, ride \
                FROM orders LEFT JOIN party AS buyer ON buyer.id = orders.buyer \
                LEFT JOIN party AS seller ON seller.id = orders.seller LEFT JOIN item ON item.id = orders.item \
                WHERE orders.id > ? AND orders.id <= ?";
    connection.prepare(copy)?.execute(params![after, last])?;
    Ok(Some(last))
}
