//! Conversion between rows and the domain's types. Rows contain only values that were accepted once, so a row
//! that can't be converted is damaged.

use std::{
    fmt::Display,
    sync::{Arc, LazyLock},
};

use rusqlite::{
    Error, Row,
    types::{Type, ValueRef},
};
use serde::de::DeserializeOwned;
use souk_domain::{
    Callback, CancelReason, Category, Description, DisplayName, Item, ItemId, ItemName, Money, Order,
    OrderId, OrderStatus, Party, PartyId, RankClass, RatingSummary, RideId, Role, SalesLevel, Sku,
    Suspension, SuspensionReason, TillId, Timestamp,
};
use uuid::Uuid;

use crate::audit::{AuditHash, AuditRow, Head};

/// The columns that [`item`] reads, from `item` joined with its seller in `party`.
pub(super) const ITEM: &str = "item.id, seller, display_name, name, description, category, amount_minor, currency, \
     quantity, supplied, sold, withdrawn, rating_count, rating_stars, version, created_at, updated_at, deleted_at, sku, \
     sales_level, rank_class";

/// The columns that [`order`] reads, in its order, from `orders` with [`ORDER_PARTIES`]. A name that an order leaves out is
/// the first that was replaced after it was placed, or else the present one.
pub(super) const ORDER: &str = "orders.id, buyer.id, \
     coalesce(buyer_name, (SELECT name FROM former_party_name WHERE party = orders.buyer AND through >= orders.id \
     ORDER BY through LIMIT 1), buyer.display_name), seller.id, \
     coalesce(seller_name, (SELECT name FROM former_party_name WHERE party = orders.seller AND through >= orders.id \
     ORDER BY through LIMIT 1), seller.display_name), orders.item, \
     coalesce(item_name, (SELECT name FROM former_item_name WHERE item = orders.item AND through >= orders.id \
     ORDER BY through LIMIT 1), (SELECT name FROM item WHERE id = orders.item)), amount_minor, currency, quantity, \
     total_minor, status, placed_at, shipped_at, delivered_at, cancelled_at, cancelled_by, cancel_reason, ride";

/// Joins the parties of orders. Their ids and names are found in the index alone.
pub(super) const ORDER_PARTIES: &str = "LEFT JOIN party AS buyer ON buyer.number = orders.buyer \
     LEFT JOIN party AS seller ON seller.number = orders.seller";

/// Selects the number of the party whose id is the parameter `?1`.
pub(super) const PARTY_NUMBER: &str = "(SELECT number FROM party WHERE id = ?1)";

/// The columns that [`party`] reads, in its order.
pub(super) const PARTY: &str = "id, role, display_name, callback_host, callback_port, registered_at, epoch, \
     suspended_at, suspended_for, tills";

/// Selects a party by its id. This text and the next ones are made once: such a query takes little longer than making it.
pub(super) static PARTY_BY_ID: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {PARTY} FROM party WHERE id = ?"));

/// Selects an item by its number.
pub(super) static ITEM_BY_ID: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {ITEM} FROM item JOIN party ON party.id = item.seller WHERE item.id = ?")
});

/// Selects an order by its number.
pub(super) static ORDER_BY_ID: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {ORDER} FROM orders {ORDER_PARTIES} WHERE orders.id = ?"));

pub(super) fn uuid(row: &Row<'_>, column: usize) -> Result<Uuid, Error> {
    row.get::<_, [u8; 16]>(column).map(Uuid::from_bytes)
}

pub(super) fn party_id(row: &Row<'_>, column: usize) -> Result<PartyId, Error> {
    uuid(row, column).map(PartyId)
}

/// Returns a party's id as it is bound to a statement.
pub(super) fn blob(id: PartyId) -> [u8; 16] {
    id.0.into_bytes()
}

pub(super) fn time(row: &Row<'_>, column: usize) -> Result<Timestamp, Error> {
    row.get(column).map(Timestamp)
}

pub(super) fn optional_time(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, Error> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp))
}

fn money(row: &Row<'_>, amount: usize, currency: usize) -> Result<Money, Error> {
    let code: String = row.get(currency)?;
    Money::stored(row.get(amount)?, &code).map_err(|error| unreadable(currency, error))
}

pub(super) fn unreadable(column: usize, problem: impl Display) -> Error {
    Error::FromSqlConversionFailure(column, Type::Text, problem.to_string().into())
}

pub(super) fn role(row: &Row<'_>, column: usize) -> Result<Role, Error> {
    match row.get_ref(column)?.as_str()? {
        "seller" => Ok(Role::Seller),
        "buyer" => Ok(Role::Buyer),
        other => Err(unreadable(column, format!("no role: {other}"))),
    }
}

pub(super) fn callback(row: &Row<'_>, host: usize, port: usize) -> Result<Option<Callback>, Error> {
    let (host, port): (Option<String>, Option<u16>) = (row.get(host)?, row.get(port)?);
    Ok(host.zip(port).map(|(host, port)| Callback { host, port }))
}

pub(super) fn party(row: &Row<'_>) -> Result<Party, Error> {
    Ok(Party {
        id: party_id(row, 0)?,
        role: role(row, 1)?,
        display_name: DisplayName::shared(row.get(2)?),
        callback: callback(row, 3, 4)?,
        registered_at: time(row, 5)?,
        epoch: row.get(6)?,
        suspension: suspension(row, 7, 8)?,
        tills: tills(row, 9)?,
    })
}

fn tills(row: &Row<'_>, column: usize) -> Result<Vec<TillId>, Error> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(Vec::new()),
        ids => serde_json::from_str(ids.as_str()?).map_err(|error| unreadable(column, error)),
    }
}

/// Decodes the column `body`, which is JSON.
pub(super) fn body<T: DeserializeOwned>(row: &Row<'_>) -> Result<T, Error> {
    serde_json::from_str(row.get_ref("body")?.as_str()?).map_err(|error| unreadable(0, error))
}

fn suspension(row: &Row<'_>, since: usize, reason: usize) -> Result<Option<Suspension>, Error> {
    let (since, reason): (_, Option<String>) = (optional_time(row, since)?, row.get(reason)?);
    let reason = reason.map(SuspensionReason::trusted);
    Ok(since.zip(reason).map(|(since, reason)| Suspension { since, reason }))
}

pub(super) fn item(row: &Row<'_>) -> Result<Item, Error> {
    Ok(Item {
        id: ItemId(row.get(0)?),
        seller: party_id(row, 1)?,
        seller_name: DisplayName::shared(row.get(2)?),
        name: ItemName::shared(row.get(3)?),
        description: Description::shared(row.get(4)?),
        category: Category::shared(row.get(5)?),
        unit_price: money(row, 6, 7)?,
        quantity: row.get(8)?,
        supplied: row.get(9)?,
        sold: row.get(10)?,
        withdrawn: row.get(11)?,
        rating: RatingSummary { count: row.get(12)?, total_stars: row.get(13)? },
        version: row.get(14)?,
        created_at: time(row, 15)?,
        updated_at: time(row, 16)?,
        deleted_at: optional_time(row, 17)?,
        sku: row.get::<_, Option<Arc<str>>>(18)?.map(Sku::shared),
        sales_level: SalesLevel::stored(row.get(19)?),
        rank_class: RankClass::stored(row.get(20)?),
    })
}

pub(super) fn order(row: &Row<'_>) -> Result<Order, Error> {
    Ok(Order {
        id: OrderId(row.get(0)?),
        buyer: party_id(row, 1)?,
        buyer_name: DisplayName::shared(row.get(2)?),
        seller: party_id(row, 3)?,
        seller_name: DisplayName::shared(row.get(4)?),
        item: ItemId(row.get(5)?),
        item_name: ItemName::shared(row.get(6)?),
        unit_price: money(row, 7, 8)?,
        quantity: row.get(9)?,
        total_price: money(row, 10, 8)?,
        status: status(row, 11)?,
        placed_at: time(row, 12)?,
        shipped_at: optional_time(row, 13)?,
        delivered_at: optional_time(row, 14)?,
        cancelled_at: optional_time(row, 15)?,
        cancelled_by: if row.get_ref(16)? == ValueRef::Null { None } else { Some(role(row, 16)?) },
        cancel_reason: row.get::<_, Option<String>>(17)?.map(CancelReason::trusted),
        ride: row.get::<_, Option<[u8; 16]>>(18)?.map(|id| RideId(Uuid::from_bytes(id))),
    })
}

fn status(row: &Row<'_>, column: usize) -> Result<OrderStatus, Error> {
    let word = row.get_ref(column)?.as_str()?;
    let known = OrderStatus::ALL.into_iter().find(|status| status.as_str() == word);
    known.ok_or_else(|| unreadable(column, format!("no status: {word}")))
}

pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::ToSqlConversionFailure(error.into()))
}

pub(super) fn audit_head(row: &Row<'_>) -> Result<Head, Error> {
    Ok(Head { sequence: row.get("sequence")?, hash: AuditHash(row.get("hash")?) })
}

pub(super) fn audit_row(row: &Row<'_>) -> Result<AuditRow, Error> {
    let Head { sequence, hash } = audit_head(row)?;
    Ok(AuditRow { sequence, line: row.get("line")?, hash })
}
