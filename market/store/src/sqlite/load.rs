//! Loads the rows that a batch names, by key. The write lock of the transaction takes the place of row locks.

use rusqlite::{Connection, Error, OptionalExtension as _, Row, params};
use souk_domain::{IdRange, ItemId, Keys, Ride, RideId, Stars, Timestamp, Wish, WorkingSet};

use super::{
    convert::{self, ITEM_BY_ID, ORDER_BY_ID, PARTY_BY_ID, blob, unreadable},
    kept::Kept,
    purchases, requests,
};

pub(super) fn load(connection: &Connection, keys: &Keys, kept: &mut Kept) -> Result<WorkingSet, Error> {
    let mut rows = WorkingSet::default();
    // The order matters: orders and SKUs name further items, and items name the sellers to load.
    load_rides(connection, keys, &mut rows)?;
    load_tills(connection, keys, &mut rows)?;
    load_orders(connection, keys, &mut rows)?;
    load_items(connection, keys, &mut rows, kept)?;
    load_parties(connection, keys, &mut rows, kept)?;
    load_names(connection, keys, &mut rows)?;
    load_wishes(connection, keys, &mut rows)?;
    load_ratings(connection, keys, &mut rows)?;
    requests::load(connection, keys, &mut rows)?;
    rows.item_ids = numbers(connection, "item", keys.new_items)?;
    rows.order_ids = numbers(connection, "order", keys.new_orders)?;
    Ok(rows)
}

fn load_orders(connection: &Connection, keys: &Keys, rows: &mut WorkingSet) -> Result<(), Error> {
    if keys.orders.is_empty() {
        return Ok(());
    }
    let mut one = connection.prepare_cached(&ORDER_BY_ID)?;
    for id in &keys.orders {
        if let Some(order) = one.query_row([id.0], convert::order).optional()? {
            rows.orders.load(*id, order);
        }
    }
    Ok(())
}

fn load_rides(connection: &Connection, keys: &Keys, rows: &mut WorkingSet) -> Result<(), Error> {
    for id in &keys.rides {
        if let Some(ride) = ride(connection, *id)? {
            rows.rides.load(*id, ride);
        }
    }
    Ok(())
}

fn load_tills(connection: &Connection, keys: &Keys, rows: &mut WorkingSet) -> Result<(), Error> {
    if keys.tills.is_empty() {
        return Ok(());
    }
    let mut one = connection.prepare_cached("SELECT body FROM till WHERE id = ?")?;
    for id in &keys.tills {
        if let Some(till) = one.query_row([id.0.into_bytes()], convert::body).optional()? {
            rows.tills.load(*id, till);
        }
    }
    Ok(())
}

/// Loads one ride by its id.
pub(super) fn ride(connection: &Connection, id: RideId) -> Result<Option<Ride>, Error> {
    let mut one = connection.prepare_cached("SELECT body FROM ride WHERE id = ?")?;
    one.query_row([id.0.into_bytes()], convert::body).optional()
}

/// Loads the named items, and those of the orders and SKUs.
fn load_items(
    connection: &Connection,
    keys: &Keys,
    rows: &mut WorkingSet,
    kept: &mut Kept,
) -> Result<(), Error> {
    let mut one = connection.prepare_cached(&ITEM_BY_ID)?;
    let ordered: Vec<ItemId> =
        rows.orders.keys().filter_map(|id| rows.orders.row(id)).map(|order| order.item).collect();
    let numbered = load_skus(connection, keys, rows)?;
    for id in keys.items.iter().copied().chain(ordered).chain(numbered) {
        if rows.items.row(id).is_some() {
            continue;
        }
        if let Some(item) = kept.item(id) {
            rows.items.load(id, item.clone());
        } else if let Some(item) = one.query_row([id.0], convert::item).optional()? {
            kept.keep_item(&item);
            rows.items.load(id, item);
        }
    }
    Ok(())
}

fn load_skus(connection: &Connection, keys: &Keys, rows: &mut WorkingSet) -> Result<Vec<ItemId>, Error> {
    if keys.skus.is_empty() {
        return Ok(Vec::new());
    }
    let mut one = connection
        .prepare_cached("SELECT id FROM item WHERE seller = ? AND sku = ? AND deleted_at IS NULL")?;
    for (seller, sku) in &keys.skus {
        let found = one.query_row(params![blob(*seller), sku.as_str()], |row| row.get(0)).optional()?;
        if let Some(id) = found {
            // The write lock is held, so no other listing can take the SKU before this batch is saved.
            rows.skus.insert((*seller, sku.clone()), ItemId(id));
        }
    }
    Ok(rows.skus.values().copied().collect())
}

/// Finds out who has the display names that are asked for.
fn load_names(connection: &Connection, keys: &Keys, rows: &mut WorkingSet) -> Result<(), Error> {
    if keys.names.is_empty() {
        return Ok(());
    }
    let mut one = connection.prepare_cached("SELECT id FROM party WHERE name_key = ?")?;
    for name in &keys.names {
        let found = one.query_row([name.as_str()], |row| convert::party_id(row, 0)).optional()?;
        if let Some(party) = found {
            rows.names.insert(name.clone(), party);
        }
    }
    Ok(())
}

/// Loads the named parties, and the sellers of the items.
fn load_parties(
    connection: &Connection,
    keys: &Keys,
    rows: &mut WorkingSet,
    kept: &mut Kept,
) -> Result<(), Error> {
    let mut one = connection.prepare_cached(&PARTY_BY_ID)?;
    let sellers: Vec<_> =
        rows.items.keys().filter_map(|id| rows.items.row(id)).map(|item| item.seller).collect();
    for id in keys.parties.iter().copied().chain(sellers) {
        if rows.parties.row(id).is_some() {
            continue;
        }
        if let Some(party) = kept.party(id) {
            rows.parties.load(id, party.clone());
        } else if let Some(party) = one.query_row([blob(id)], convert::party).optional()? {
            kept.keep_party(&party);
            rows.parties.load(id, party);
        }
    }
    Ok(())
}

fn load_wishes(connection: &Connection, keys: &Keys, rows: &mut WorkingSet) -> Result<(), Error> {
    if keys.wishes.is_empty() {
        return Ok(());
    }
    let mut wish = connection.prepare_cached("SELECT added_at FROM wish WHERE buyer = ? AND item = ?")?;
    for (buyer, item) in keys.wishes.iter().copied() {
        let found = wish.query_row(params![blob(buyer), item.0], |row| row.get(0)).optional()?;
        if let Some(added_at) = found {
            rows.wishes.load((buyer, item), Wish { buyer, item, added_at: Timestamp(added_at) });
        }
    }
    Ok(())
}

/// Loads the ratings that the batch may set or take back, and counts the purchases that allow them.
fn load_ratings(connection: &Connection, keys: &Keys, rows: &mut WorkingSet) -> Result<(), Error> {
    let rated = rows.rated(keys);
    // Most batches have none, and prepare no statement.
    if rated.is_empty() {
        return Ok(());
    }
    let mut rating = connection.prepare_cached("SELECT stars FROM rating WHERE buyer = ? AND item = ?")?;
    for ((buyer, item), enough) in rated {
        let found = rating.query_row(params![blob(buyer), item.0], stars).optional()?;
        if let Some(stars) = found {
            rows.ratings.load((buyer, item), stars);
        }
        let count = purchases::count(connection, buyer, item, enough)?;
        rows.purchases.insert((buyer, item), count);
    }
    Ok(())
}

fn stars(row: &Row<'_>) -> Result<Stars, Error> {
    Stars::parse(row.get(0)?).map_err(|problem| unreadable(0, problem))
}

/// Reserves numbers for new rows. Only those that are taken are saved with the batch; the next one gets the
/// rest.
fn numbers(connection: &Connection, name: &str, count: usize) -> Result<IdRange, Error> {
    if count == 0 {
        return Ok(IdRange::default());
    }
    let mut counter = connection.prepare_cached("SELECT value FROM counter WHERE name = ?")?;
    let last: i64 = counter.query_row([name], |row| row.get(0))?;
    Ok(IdRange::new(last + 1, count))
}
