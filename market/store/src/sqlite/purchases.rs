//! How many orders each buyer has of each item, not counting cancelled ones: whether it may rate the item, and whether a
//! cancellation withdraws the rating.
//!
//! They are counted up to an order of each buyer's; the few after it are read from the index of the buyer's orders. An order
//! picked at random brings the count up to itself. So only one purchase in [`EVERY`] or so writes rows here, next to the
//! buyer's others, where an index by buyer and item would change a page somewhere else for each.

use std::hash::{BuildHasher as _, RandomState};

use rusqlite::{Connection, Error, params};
use souk_domain::{ItemId, Order, PartyId};

use super::convert::{PARTY_NUMBER, blob};

/// One in this many of a buyer's orders brings the counts up to date, on average.
const EVERY: u64 = 64;

/// Returns how many orders a buyer has of an item. May stop counting at `enough`. Orders that were pruned count as one.
pub(super) fn count(
    connection: &Connection,
    buyer: PartyId,
    item: ItemId,
    enough: i64,
) -> Result<i64, Error> {
    let sql = format!(
        "WITH buyer (number) AS MATERIALIZED (SELECT {PARTY_NUMBER}) \
         SELECT coalesce((SELECT orders FROM purchase WHERE buyer = buyer.number AND item = ?2), 0) + \
         (SELECT count(*) FROM (SELECT 1 FROM orders WHERE orders.buyer = buyer.number AND id > \
         coalesce((SELECT through FROM purchase_through WHERE purchase_through.buyer = buyer.number), 0) \
         AND item = ?2 AND status <> 'cancelled' LIMIT ?3)) \
         + (SELECT count(*) FROM bought WHERE buyer = ?1 AND item = ?2) FROM buyer"
    );
    connection.prepare_cached(&sql)?.query_row(params![blob(buyer), item.0, enough], |row| row.get(0))
}

/// Brings the counts up to those of the new orders that are picked at random. Each order comes with the number of its buyer,
/// and its row is written.
pub(super) fn note(connection: &Connection, saved: &[(i64, &Order)]) -> Result<(), Error> {
    // Random keys, so that no client can predict which orders are picked.
    let keys = RandomState::new();
    for (buyer, order) in saved.iter().filter(|(_, order)| keys.hash_one(order.id.0).is_multiple_of(EVERY)) {
        catch_up(connection, *buyer, order)?;
    }
    Ok(())
}

/// Counts a buyer's orders up to the last one.
fn catch_up(connection: &Connection, buyer: i64, order: &Order) -> Result<(), Error> {
    let counts = "INSERT INTO purchase (buyer, item, orders) SELECT buyer, item, count(*) FROM orders \
                  WHERE buyer = ?1 AND id > coalesce((SELECT through FROM purchase_through WHERE buyer = ?1), 0) \
                  AND id <= ?2 AND status <> 'cancelled' GROUP BY item \
                  ON CONFLICT DO UPDATE SET orders = orders + excluded.orders";
    let through = "INSERT INTO purchase_through (buyer, through) VALUES (?1, ?2) \
                   ON CONFLICT DO UPDATE SET through = max(through, ?2)";
    for sql in [counts, through] {
        connection.prepare_cached(sql)?.execute(params![buyer, order.id.0])?;
    }
    Ok(())
}

/// Takes an order out of the count, if it is in it: it is cancelled or pruned.
pub(super) fn take_out(connection: &Connection, buyer: i64, item: i64, order: i64) -> Result<(), Error> {
    let sql = "UPDATE purchase SET orders = orders - 1 WHERE buyer = ?1 AND item = ?2 \
               AND ?3 <= (SELECT through FROM purchase_through WHERE buyer = ?1)";
    connection.prepare_cached(sql)?.execute([buyer, item, order])?;
    Ok(())
}
