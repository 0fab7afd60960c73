//! Saves the changes of a batch, row by row with cached statements.

use std::collections::{BTreeMap, btree_map::Entry};

use rusqlite::{CachedStatement, Connection, Error, params};
use souk_domain::{Audience, EventKind, IdRange, Item, NameKey, NewEvent, Party, Role, Sku, WorkingSet};

use super::{
    audit,
    convert::{blob, to_json},
    deliveries::{Added, Opened, opened, put_delivery, put_event, put_into_mailbox},
    kept::Kept,
    orders, placed, requests, summary,
};
use crate::{FeedPosition, Receipt};

pub(super) fn save(connection: &Connection, rows: &WorkingSet, kept: &mut Kept) -> Result<Receipt, Error> {
    // Parties and tills come before events: they open the mailboxes to which the events are delivered.
    save_parties(connection, rows)?;
    let feed_position = save_items(connection, rows)?;
    orders::save(connection, rows, kept)?;
    summary::save(connection, &rows.tally)?;
    save_rides(connection, rows)?;
    save_tills(connection, rows)?;
    save_wishes(connection, rows)?;
    save_ratings(connection, rows)?;
    requests::save(connection, rows)?;
    save_number(connection, "item", &rows.item_ids)?;
    save_number(connection, "order", &rows.order_ids)?;
    let mut receipt = Receipt { feed_position, ..Receipt::of(rows) };
    save_events(connection, rows, &mut receipt)?;
    for letter in &rows.exhumed {
        connection.prepare_cached("DELETE FROM dead_letter WHERE id = ?")?.execute([letter.0])?;
    }
    audit::append(connection, &rows.audit)?;
    Ok(receipt)
}

fn save_parties(connection: &Connection, rows: &WorkingSet) -> Result<(), Error> {
    // As below: most batches change none, and need no statement.
    if rows.parties.changes().next().is_none() {
        return Ok(());
    }
    let mut put = connection.prepare_cached(
        "INSERT INTO party (id, role, display_name, callback_host, callback_port, registered_at, epoch, \
         suspended_at, suspended_for, tills, name_key, number) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, \
         (SELECT coalesce(max(number), 0) + 1 FROM party WHERE number IS NOT NULL)) \
         ON CONFLICT (id) DO UPDATE SET display_name = ?3, callback_host = ?4, callback_port = ?5, epoch = ?7, \
         suspended_at = ?8, suspended_for = ?9, tills = ?10, name_key = coalesce(?11, name_key)",
    )?;
    let mut open = connection.prepare_cached(
        "INSERT INTO mailbox (party, role, callback_host, callback_port) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (party) DO UPDATE SET callback_host = ?3, callback_port = ?4, failures = 0, last_failure = '', \
         refusals = 0, refused_since = NULL, regular_attempt = NULL, is_probed = 0, \
         reliability = CASE WHEN reliability = 0 AND callback_host IS ?3 AND callback_port IS ?4 THEN 0 ELSE 1 END, \
         next_attempt = CASE WHEN next_attempt IS NULL THEN NULL ELSE 0 END",
    )?;
    for (_, party) in rows.parties.changes() {
        let Some(party) = party else { continue };
        let Party { id, role, display_name, callback, registered_at, epoch, suspension, tills } = party;
        let (host, port) = callback.as_ref().map(|c| (c.host.as_str(), c.port)).unzip();
        let (name, role) = (display_name.as_str(), role.as_str());
        let (since, reason) = suspension.as_ref().map(|s| (s.since.0, s.reason.as_str())).unzip();
        let tills = if tills.is_empty() { None } else { Some(to_json(tills)?) };
        put.execute(params![
            blob(*id),
            role,
            name,
            host,
            port,
            registered_at.0,
            epoch,
            since,
            reason,
            tills,
            rows.claimed_names.get(id).map(NameKey::as_str)
        ])?;
        // A suspended party has no open callback, and mailboxes without one are never claimed for delivery.
        let (host, port) = party.open_callback().map(|c| (c.host.as_str(), c.port)).unzip();
        open.execute(params![blob(*id), role, host, port])?;
    }
    Ok(())
}

/// Saves the items. If a change does not affect search, only the stock has changed, and a short update
/// touches no index.
fn save_items(connection: &Connection, rows: &WorkingSet) -> Result<Option<FeedPosition>, Error> {
    let mut put = connection.prepare_cached(
        "INSERT INTO item (id, seller, name, category, amount_minor, currency, quantity, supplied, sold, \
         withdrawn, rating_count, rating_stars, version, created_at, updated_at, deleted_at, feed_position, \
         description, sku, sales_level, rank_class) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21) \
         ON CONFLICT (id) DO UPDATE SET name = ?3, category = ?4, amount_minor = ?5, currency = ?6, quantity = ?7, \
         supplied = ?8, sold = ?9, withdrawn = ?10, rating_count = ?11, rating_stars = ?12, version = ?13, \
         updated_at = ?15, deleted_at = ?16, feed_position = ?17, description = ?18, \
         sku = ?19, sales_level = ?20, rank_class = ?21",
    )?;
    let mut stock = connection.prepare_cached(
        "UPDATE item SET quantity = ?, supplied = ?, sold = ?, withdrawn = ?, version = ?, updated_at = ? \
         WHERE id = ?",
    )?;
    // Most batches only change stock. They must not touch the counter, or each would also write its page.
    let mut position = match rows.search_changes.len() {
        0 => None,
        _ => Some(last_number(connection, "feed")?),
    };
    // Withdrawn items first: another item may be listed with the SKU of one, and no two of them may have it meanwhile.
    let changed = || rows.items.changes().filter_map(|(id, item)| Some((id, item?)));
    let withdrawn = changed().filter(|(_, item)| !item.is_listed());
    for (id, item) in withdrawn.chain(changed().filter(|(_, item)| item.is_listed())) {
        match &mut position {
            Some(position) if rows.search_changes.contains(&id) => {
                *position += 1;
                put_item(&mut put, item, *position)?;
            }
            _ => {
                let Item { quantity, supplied, sold, withdrawn, version, updated_at, .. } = item;
                stock.execute(params![quantity, supplied, sold, withdrawn, version, updated_at.0, id.0])?;
            }
        }
    }
    if let Some(position) = position {
        set_number(connection, "feed", position)?;
    }
    Ok(position.map(FeedPosition))
}

fn put_item(put: &mut CachedStatement<'_>, item: &Item, position: i64) -> Result<(), Error> {
    put.execute(params![
        item.id.0,
        blob(item.seller),
        item.name.as_str(),
        item.category.as_str(),
        item.unit_price.amount_minor(),
        item.unit_price.currency_code(),
        item.quantity,
        item.supplied,
        item.sold,
        item.withdrawn,
        item.rating.count,
        item.rating.total_stars,
        item.version,
        item.created_at.0,
        item.updated_at.0,
        item.deleted_at.map(|time| time.0),
        position,
        item.description.as_str(),
        item.sku.as_ref().map(Sku::as_str),
        item.sales_level.get(),
        item.rank_class.get(),
    ])?;
    Ok(())
}

fn save_rides(connection: &Connection, rows: &WorkingSet) -> Result<(), Error> {
    if rows.rides.changes().next().is_none() {
        return Ok(());
    }
    let mut put = connection.prepare_cached(
        "INSERT INTO ride (id, seller, body) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET body = ?3",
    )?;
    for (id, ride) in rows.rides.changes() {
        let Some(ride) = ride else { continue };
        put.execute(params![id.0.into_bytes(), blob(ride.seller), to_json(ride)?])?;
    }
    Ok(())
}

/// Saves the tills. A removed till's mailbox stays, because a till that is opened again must not reuse
/// sequences.
fn save_tills(connection: &Connection, rows: &WorkingSet) -> Result<(), Error> {
    if rows.tills.changes().next().is_none() {
        return Ok(());
    }
    let mut put = connection.prepare_cached(
        "INSERT INTO till (id, seller, body) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET body = ?3",
    )?;
    let mut open = connection
        .prepare_cached("INSERT INTO mailbox (party, role) VALUES (?, ?) ON CONFLICT DO NOTHING")?;
    let mut remove = connection.prepare_cached("DELETE FROM till WHERE id = ?")?;
    for (id, till) in rows.tills.changes() {
        let Some(till) = till else {
            remove.execute([id.0.into_bytes()])?;
            continue;
        };
        put.execute(params![id.0.into_bytes(), blob(till.seller), to_json(till)?])?;
        open.execute(params![blob(id.mailbox()), Role::Seller.as_str()])?;
    }
    Ok(())
}

fn save_wishes(connection: &Connection, rows: &WorkingSet) -> Result<(), Error> {
    if rows.wishes.changes().next().is_none() {
        return Ok(());
    }
    let mut wish = connection.prepare_cached(
        "INSERT INTO wish (buyer, item, added_at) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET added_at = ?3",
    )?;
    let mut unwish = connection.prepare_cached("DELETE FROM wish WHERE buyer = ? AND item = ?")?;
    for ((buyer, item), change) in rows.wishes.changes() {
        match change {
            Some(added) => wish.execute(params![blob(buyer), item.0, added.added_at.0])?,
            None => unwish.execute(params![blob(buyer), item.0])?,
        };
    }
    Ok(())
}

fn save_ratings(connection: &Connection, rows: &WorkingSet) -> Result<(), Error> {
    if rows.ratings.changes().next().is_none() {
        return Ok(());
    }
    let mut rating = connection.prepare_cached(
        "INSERT INTO rating (buyer, item, stars) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET stars = ?3",
    )?;
    let mut withdraw = connection.prepare_cached("DELETE FROM rating WHERE buyer = ? AND item = ?")?;
    for ((buyer, item), change) in rows.ratings.changes() {
        match change {
            Some(stars) => rating.execute(params![blob(buyer), item.0, stars.get()])?,
            None => withdraw.execute(params![blob(buyer), item.0])?,
        };
    }
    Ok(())
}

/// Saves the events, their deliveries, and the state of the mailboxes that they go to.
fn save_events(connection: &Connection, rows: &WorkingSet, receipt: &mut Receipt) -> Result<(), Error> {
    let is_wished = "SELECT 1 FROM wish WHERE item = ? LIMIT 1";
    let fan_out = "INSERT INTO fan_out (event, item, withdraws, seller) VALUES (?, ?, ?, ?)";
    let mut put_placed = connection.prepare_cached(placed::PUT)?;
    let mut mailboxes = BTreeMap::new();
    for NewEvent { event, audience } in &rows.events {
        match *audience {
            Audience::Party(recipient) => {
                let added = match mailboxes.entry(recipient) {
                    // Read once per mailbox and batch; the transaction's write lock keeps others from
                    // assigning sequences.
                    Entry::Occupied(added) => added.into_mut(),
                    Entry::Vacant(first) => {
                        let Opened { sequence, has_callback } = opened(connection, recipient)?;
                        receipt.has_callback |= has_callback;
                        first.insert(Added { sequence, last_order: 0, count: 0 })
                    }
                };
                added.sequence += 1;
                if event.kind.is_order() {
                    added.last_order = added.sequence;
                }
                let place = (recipient, added.sequence);
                // A redelivered event may be of an old order, which the archive may prune at the same time.
                if placed::subject(event).is_some_and(|order| orders::is_new(rows, order)) {
                    placed::put(&mut put_placed, place, event, rows.decided_at)?;
                    added.count += 1;
                } else {
                    added.count += put_delivery(connection, place, None, event, rows.decided_at)?;
                }
            }
            Audience::Wishers(item) => {
                let Some(seller) = rows.items.row(item).map(|item| item.seller) else { continue };
                // Most items are wished for by nobody, and an import changes thousands of them.
                if !connection.prepare_cached(is_wished)?.exists([item.0])? {
                    continue;
                }
                // One row per event now, one per wisher later: a popular item may have any number of wishers,
                // and a purchase must not wait for them. The relay expands these events in small transactions.
                let seq = put_event(connection, event, rows.decided_at, true)?;
                let withdraws = matches!(event.kind, EventKind::ItemWithdrawn { .. });
                connection.prepare_cached(fan_out)?.execute(params![seq, item.0, withdraws, blob(seller)])?;
                receipt.needs_expansion = true;
            }
        }
    }
    // Once per mailbox and batch rather than per event: a popular seller gets many events in one batch.
    for (recipient, added) in mailboxes {
        put_into_mailbox(connection, recipient, &added, rows.decided_at)?;
        receipt.recipients.push(recipient);
    }
    Ok(())
}

fn last_number(connection: &Connection, name: &str) -> Result<i64, Error> {
    let mut last = connection.prepare_cached("SELECT value FROM counter WHERE name = ?")?;
    last.query_row([name], |row| row.get(0))
}

fn set_number(connection: &Connection, name: &str, value: i64) -> Result<(), Error> {
    let mut set = connection.prepare_cached("UPDATE counter SET value = ? WHERE name = ?")?;
    set.execute(params![value, name])?;
    Ok(())
}

/// Saves how many of the reserved numbers were taken.
fn save_number(connection: &Connection, name: &str, numbers: &IdRange) -> Result<(), Error> {
    // If no numbers were reserved, the range is empty and begins at 0.
    if numbers.next() > 0 { set_number(connection, name, numbers.next() - 1) } else { Ok(()) }
}
