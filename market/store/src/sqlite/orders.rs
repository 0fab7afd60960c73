//! Saves orders: new ones, and the steps of those that exist.

use rusqlite::{CachedStatement, Connection, Error, params};
use souk_domain::{CancelReason, Order, OrderId, OrderStatus, PartyId, Role, WorkingSet};

use super::{convert::unreadable, kept::Kept, purchases};

pub(super) fn save(connection: &Connection, rows: &WorkingSet, kept: &mut Kept) -> Result<(), Error> {
    let mut put = connection.prepare_cached(
        "INSERT INTO orders (id, buyer, buyer_name, seller, seller_name, item, item_name, amount_minor, currency, \
         quantity, total_minor, status, placed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'placed', ?)",
    )?;
    // A cancelled order always keeps its item's name, so that an item of which nothing is sold can be renamed without a
    // trace.
    let mut step = connection.prepare_cached(
        "UPDATE orders SET item_name = iif(?2 = 'cancelled', ?3, item_name), status = ?2, shipped_at = ?4, \
         delivered_at = ?5, cancelled_at = ?6, cancelled_by = ?7, cancel_reason = ?8, ride = ?9 WHERE id = ?1",
    )?;
    let mut new = Vec::new();
    for order in rows.orders.changes().filter_map(|(_, order)| order) {
        let is_new = is_new(rows, order.id);
        if is_new {
            let buyer = number(connection, kept, order.buyer)?;
            put_order(&mut put, order, (buyer, number(connection, kept, order.seller)?), rows)?;
            new.push((buyer, order));
        }
        if !is_new || order.status != OrderStatus::Placed {
            take_step(&mut step, order)?;
        }
        if !is_new && order.status == OrderStatus::Cancelled {
            let buyer = number(connection, kept, order.buyer)?;
            purchases::take_out(connection, buyer, order.item.0, order.id.0)?;
        }
    }
    purchases::note(connection, &new)
}

/// Returns whether this batch places an order. Numbers are assigned in order, and those of the batch are the last.
pub(super) fn is_new(rows: &WorkingSet, order: OrderId) -> bool {
    rows.order_ids.first().is_some_and(|first| order.0 >= first)
}

/// Returns the number of a party, which orders refer to.
fn number(connection: &Connection, kept: &mut Kept, party: PartyId) -> Result<i64, Error> {
    kept.number(connection, party)?.ok_or_else(|| unreadable(0, format!("party {party} has no number")))
}

/// Writes a new order. It leaves out the names of parties and items that are what they are called after this batch. When one
/// is renamed by a later batch, a trigger notes the name that orders up to then have.
fn put_order(
    put: &mut CachedStatement<'_>,
    order: &Order,
    (buyer, seller): (i64, i64),
    rows: &WorkingSet,
) -> Result<(), Error> {
    let party_name = |id| rows.parties.row(id).map(|party| party.display_name.as_str());
    let item_name = rows.items.row(order.item).map(|item| item.name.as_str());
    put.execute(params![
        order.id.0,
        buyer,
        own_name(order.buyer_name.as_str(), party_name(order.buyer)),
        seller,
        own_name(order.seller_name.as_str(), party_name(order.seller)),
        order.item.0,
        own_name(order.item_name.as_str(), item_name),
        order.unit_price.amount_minor(),
        order.unit_price.currency_code(),
        order.quantity,
        order.total_price.amount_minor(),
        order.placed_at.0,
    ])?;
    Ok(())
}

fn own_name<'a>(name: &'a str, present: Option<&str>) -> Option<&'a str> {
    (present != Some(name)).then_some(name)
}

fn take_step(step: &mut CachedStatement<'_>, order: &Order) -> Result<(), Error> {
    step.execute(params![
        order.id.0,
        order.status.as_str(),
        order.item_name.as_str(),
        order.shipped_at.map(|time| time.0),
        order.delivered_at.map(|time| time.0),
        order.cancelled_at.map(|time| time.0),
        order.cancelled_by.map(Role::as_str),
        order.cancel_reason.as_ref().map(CancelReason::as_str),
        order.ride.map(|ride| ride.0.into_bytes()),
    ])?;
    Ok(())
}
