//! Orders as they were placed. The stored outcome of a purchase, and the event for the seller, refer to the order instead of
//! repeating it: what it was when it was placed follows from its row. So a row stays as long as something refers to it
//! (`archive`).

use std::fmt::Write as _;

use rusqlite::{Connection, Error, OptionalExtension as _, Row, params};
use serde::Deserialize;
use souk_domain::{Event, EventId, EventKind, Order, OrderId, OrderStatus, Outcome, PartyId, Sku, Timestamp};

use super::convert::{self, ORDER_BY_ID, blob, to_json, unreadable};

/// The text of an outcome that refers to orders begins with this. That of any other begins with the outcome's kind.
const REFERENCE: &str = "{\"placed\":";

/// The orders that an outcome refers to.
#[derive(Deserialize)]
struct Reference {
    placed: Numbers,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Numbers {
    One(i64),
    Many(Vec<i64>),
}

/// Returns an outcome as it is stored.
pub(super) fn outcome_text(outcome: &Outcome) -> Result<String, Error> {
    let is_placed = |order: &Order| order.status == OrderStatus::Placed;
    match outcome {
        Outcome::Order(order) if is_placed(order) => Ok(format!("{REFERENCE}{}}}", order.id.0)),
        Outcome::Orders(orders) if orders.iter().all(is_placed) => {
            let mut text = format!("{REFERENCE}[");
            for (place, order) in orders.iter().enumerate() {
                let comma = if place == 0 { "" } else { "," };
                // Writing to a string can't fail.
                let _ = write!(text, "{comma}{}", order.id.0);
            }
            text.push_str("]}");
            Ok(text)
        }
        outcome => to_json(outcome),
    }
}

/// Reads an outcome as it is stored.
pub(super) fn outcome(connection: &Connection, text: &str) -> Result<Outcome, Error> {
    if !text.starts_with(REFERENCE) {
        return serde_json::from_str(text).map_err(|error| unreadable(1, error));
    }
    let Reference { placed } = serde_json::from_str(text).map_err(|error| unreadable(1, error))?;
    match placed {
        Numbers::One(number) => order(connection, number).map(Outcome::Order),
        Numbers::Many(numbers) => {
            let orders = numbers.into_iter().map(|number| order(connection, number));
            orders.collect::<Result<_, _>>().map(Outcome::Orders)
        }
    }
}

/// Reads an order as it was placed.
fn order(connection: &Connection, number: i64) -> Result<Order, Error> {
    let found = connection.prepare_cached(&ORDER_BY_ID)?.query_row([number], convert::order).optional()?;
    let order = found.ok_or_else(|| unreadable(0, format!("there is no order {number} any more")))?;
    Ok(order.as_placed())
}

/// The statement of [`put`].
pub(super) const PUT: &str = "INSERT INTO delivery (recipient, sequence, event, is_order, occurred_at, placed, event_id, \
     remaining, item_version, sku) VALUES (?, ?, 0, 1, ?, ?, ?, ?, ?, ?)";

/// Returns the order whose placement an event reports; `None` for any other event.
pub(super) fn subject(event: &Event) -> Option<OrderId> {
    match &event.kind {
        EventKind::OrderPlaced { order, .. } if event.occurred_at == order.placed_at => Some(order.id),
        _ => None,
    }
}

/// Adds the delivery of an event with a [`subject`], whose order is saved with it.
pub(super) fn put(
    put: &mut rusqlite::CachedStatement<'_>,
    (recipient, sequence): (PartyId, i64),
    event: &Event,
    since: Timestamp,
) -> Result<(), Error> {
    let EventKind::OrderPlaced { order, remaining_quantity, item_version, sku } = &event.kind else {
        return Ok(());
    };
    put.execute(params![
        blob(recipient),
        sequence,
        since.0,
        order.id.0,
        event.id.0.into_bytes(),
        remaining_quantity,
        item_version,
        sku.as_ref().map(Sku::as_str)
    ])?;
    Ok(())
}

/// The columns that [`event`] reads, from `delivery` with [`EVENTS`].
pub(super) const EVENT: &str =
    "body, delivery.placed, delivery.event_id, delivery.remaining, delivery.item_version, delivery.sku";

/// Joins the events of deliveries that do not refer to an order.
pub(super) const EVENTS: &str = "LEFT JOIN event ON event.seq = delivery.event";

/// Reads the event of a delivery from the columns that begin at `first`.
pub(super) fn event(connection: &Connection, row: &Row<'_>, first: usize) -> Result<Event, Error> {
    let Some(number) = row.get::<_, Option<i64>>(first + 1)? else {
        let body = row.get_ref(first)?.as_str()?;
        return serde_json::from_str(body).map_err(|error| unreadable(first, error));
    };
    let order = order(connection, number)?;
    Ok(Event {
        id: EventId(convert::uuid(row, first + 2)?),
        occurred_at: order.placed_at,
        kind: EventKind::OrderPlaced {
            order,
            remaining_quantity: row.get(first + 3)?,
            item_version: row.get(first + 4)?,
            sku: row.get::<_, Option<String>>(first + 5)?.map(Sku::trusted),
        },
    })
}

/// Returns the body of a delivery's event in full, without a reference to an order.
pub(super) fn body(connection: &Connection, recipient: PartyId, sequence: i64) -> Result<String, Error> {
    let sql = format!("SELECT {EVENT} FROM delivery {EVENTS} WHERE recipient = ? AND sequence = ?");
    let read = |row: &Row<'_>| event(connection, row, 0);
    let event = connection.prepare_cached(&sql)?.query_row(params![blob(recipient), sequence], read)?;
    to_json(&event)
}

/// How far a market's steady time may begin behind that of the last market, if that was killed, in microseconds: far more
/// than the interval at which it is stored.
const SET_BACK_MICROS: i64 = 600_000_000;

/// Returns the lowest number of an order that a delivery refers to; `None` if none refers to one. Reads no deliveries that
/// are more than [`SET_BACK_MICROS`] younger than the first of them.
pub(super) fn first_order(connection: &Connection) -> Result<Option<i64>, Error> {
    let sql = "SELECT min(placed) FROM delivery WHERE is_order = 1 AND occurred_at <= ?1 + \
               (SELECT occurred_at FROM delivery WHERE is_order = 1 AND placed IS NOT NULL ORDER BY occurred_at LIMIT 1)";
    connection.prepare_cached(sql)?.query_row([SET_BACK_MICROS], |row| row.get(0))
}
