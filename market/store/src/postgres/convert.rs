//! Conversion between rows and the domain's types. Rows contain only values that were accepted once, so a
//! row that can't be converted is damaged.

use std::fmt::Display;

use souk_domain::{
    Callback, CancelReason, Category, Description, DisplayName, Fingerprint, Item, ItemId, ItemName, Money,
    Order, OrderId, OrderStatus, Party, PartyId, RankClass, RatingSummary, Recorded, Ride, RideId, Role,
    SalesLevel, Sequence, Sku, Suspension, SuspensionReason, Timestamp,
};
use tokio_postgres::{Row, types::FromSql};
use uuid::Uuid;

use super::error::Failure;
use crate::{
    Delivery, FeedPosition,
    audit::{AuditHash, Head},
};

pub(super) fn unreadable(problem: impl Display) -> Failure {
    Failure::Unreadable(problem.to_string())
}

/// Returns the value of a column.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, Failure> {
    row.try_get(column).map_err(|error| unreadable(format!("column {column}: {error}")))
}

/// Converts the first row, if there is one.
pub(super) fn first<T>(
    rows: &[Row],
    read: impl Fn(&Row) -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    rows.first().map(read).transpose()
}

pub(super) fn party_id(row: &Row, column: usize) -> Result<PartyId, Failure> {
    get(row, column).map(PartyId)
}

fn time(row: &Row, column: usize) -> Result<Timestamp, Failure> {
    get(row, column).map(Timestamp)
}

pub(super) fn optional_time(row: &Row, column: usize) -> Result<Option<Timestamp>, Failure> {
    Ok(get::<Option<i64>>(row, column)?.map(Timestamp))
}

fn money(row: &Row, amount: usize, currency: usize) -> Result<Money, Failure> {
    Money::stored(get(row, amount)?, get(row, currency)?).map_err(unreadable)
}

fn role_of(word: &str) -> Result<Role, Failure> {
    match word {
        "seller" => Ok(Role::Seller),
        "buyer" => Ok(Role::Buyer),
        other => Err(unreadable(format!("no role: {other}"))),
    }
}

pub(super) fn role(row: &Row, column: usize) -> Result<Role, Failure> {
    role_of(get(row, column)?)
}

pub(super) fn callback(row: &Row, host: usize, port: usize) -> Result<Option<Callback>, Failure> {
    let (host, port): (Option<String>, Option<i32>) = (get(row, host)?, get(row, port)?);
    let port = port.map(u16::try_from).transpose().map_err(unreadable)?;
    Ok(host.zip(port).map(|(host, port)| Callback { host, port }))
}

pub(super) fn party(row: &Row) -> Result<Party, Failure> {
    Ok(Party {
        id: party_id(row, 0)?,
        role: role(row, 1)?,
        display_name: DisplayName::trusted(get(row, 2)?),
        callback: callback(row, 3, 4)?,
        registered_at: time(row, 5)?,
        epoch: get(row, 6)?,
        suspension: suspension(row, 7, 8)?,
        tills: match get::<Option<&str>>(row, 9)? {
            Some(ids) => serde_json::from_str(ids).map_err(unreadable)?,
            None => Vec::new(),
        },
    })
}

/// The index of the first column after those of [`party`].
pub(super) const AFTER_PARTY: usize = 10;

fn suspension(row: &Row, since: usize, reason: usize) -> Result<Option<Suspension>, Failure> {
    let (since, reason): (_, Option<String>) = (optional_time(row, since)?, get(row, reason)?);
    let reason = reason.map(SuspensionReason::trusted);
    Ok(since.zip(reason).map(|(since, reason)| Suspension { since, reason }))
}

pub(super) fn item(row: &Row) -> Result<Item, Failure> {
    Ok(Item {
        id: ItemId(get(row, 0)?),
        seller: party_id(row, 1)?,
        seller_name: DisplayName::trusted(get(row, 2)?),
        name: ItemName::trusted(get(row, 3)?),
        description: Description::trusted(get(row, 4)?),
        category: Category::trusted(get(row, 5)?),
        unit_price: money(row, 6, 7)?,
        quantity: get(row, 8)?,
        supplied: get(row, 9)?,
        sold: get(row, 10)?,
        withdrawn: get(row, 11)?,
        rating: RatingSummary { count: get(row, 12)?, total_stars: get(row, 13)? },
        version: get(row, 14)?,
        created_at: time(row, 15)?,
        updated_at: time(row, 16)?,
        deleted_at: optional_time(row, 17)?,
        sku: get::<Option<String>>(row, 18)?.map(Sku::trusted),
        sales_level: SalesLevel::stored(small(row, 19)?),
        rank_class: RankClass::stored(small(row, 20)?),
    })
}

/// The index of the first column after those of [`item`].
pub(super) const AFTER_ITEM: usize = 21;

/// Returns a number of a column of type SMALLINT that fits into a byte.
pub(super) fn small(row: &Row, column: usize) -> Result<u8, Failure> {
    u8::try_from(get::<i16>(row, column)?).map_err(unreadable)
}

pub(super) fn order(row: &Row) -> Result<Order, Failure> {
    Ok(Order {
        id: OrderId(get(row, 0)?),
        buyer: party_id(row, 1)?,
        buyer_name: DisplayName::trusted(get(row, 2)?),
        seller: party_id(row, 3)?,
        seller_name: DisplayName::trusted(get(row, 4)?),
        item: ItemId(get(row, 5)?),
        item_name: ItemName::trusted(get(row, 6)?),
        unit_price: money(row, 7, 8)?,
        quantity: get(row, 9)?,
        total_price: money(row, 10, 8)?,
        status: status(get(row, 11)?)?,
        placed_at: time(row, 12)?,
        shipped_at: optional_time(row, 13)?,
        delivered_at: optional_time(row, 14)?,
        cancelled_at: optional_time(row, 15)?,
        cancelled_by: get::<Option<&str>>(row, 16)?.map(role_of).transpose()?,
        cancel_reason: get::<Option<String>>(row, 17)?.map(CancelReason::trusted),
        ride: get::<Option<Uuid>>(row, 18)?.map(RideId),
    })
}

fn status(word: &str) -> Result<OrderStatus, Failure> {
    let known = OrderStatus::ALL.into_iter().find(|status| status.as_str() == word);
    known.ok_or_else(|| unreadable(format!("no status: {word}")))
}

/// Decodes a column of JSON.
pub(super) fn json<T: serde::de::DeserializeOwned>(row: &Row, column: usize) -> Result<T, Failure> {
    serde_json::from_str(get(row, column)?).map_err(unreadable)
}

/// Encodes a value as JSON.
pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(unreadable)
}

pub(super) fn ride(row: &Row) -> Result<Ride, Failure> {
    json(row, 1)
}

/// Converts the columns `fingerprint, outcome`, the first at index `column`.
pub(super) fn recorded(row: &Row, column: usize) -> Result<Recorded, Failure> {
    let bytes: &[u8] = get(row, column)?;
    Ok(Recorded {
        fingerprint: Fingerprint(bytes.try_into().map_err(unreadable)?),
        outcome: json(row, column + 1)?,
    })
}

/// Converts a sequence and the body of its event, the first at index `column`.
pub(super) fn delivery(row: &Row, column: usize) -> Result<Delivery, Failure> {
    Ok(Delivery { sequence: Sequence(get(row, column)?), event: json(row, column + 1)? })
}

pub(super) fn position(row: &Row, column: usize) -> Result<FeedPosition, Failure> {
    get(row, column).map(FeedPosition)
}

/// Converts the columns `sequence, hash`.
pub(super) fn audit_head(row: &Row) -> Result<Head, Failure> {
    let bytes: &[u8] = get(row, 1)?;
    Ok(Head { sequence: get(row, 0)?, hash: AuditHash(bytes.try_into().map_err(unreadable)?) })
}
