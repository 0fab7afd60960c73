//! Orders as they are archived: everything that the market knows of them, one JSON object a line.

use std::path::Path;

use serde::{Deserialize, Serialize};
use souk_cli::Failure;
use souk_proto::v1;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::file::unreadable;

const NANOS: i128 = 1_000_000_000;

/// An archived order. Times are in RFC 3339, to the microsecond; amounts in minor units of the currency.
#[derive(Serialize)]
pub(super) struct OrderRecord<'a> {
    order_id: i64,
    status: &'static str,
    buyer_id: &'a str,
    buyer_name: &'a str,
    seller_id: &'a str,
    seller_name: &'a str,
    item_id: i64,
    item_name: &'a str,
    unit_price_minor: i64,
    quantity: i64,
    total_price_minor: i64,
    currency_code: &'a str,
    place_time: Option<String>,
    ship_time: Option<String>,
    deliver_time: Option<String>,
    cancel_time: Option<String>,
    cancelled_by: Option<&'static str>,
    cancel_reason: Option<&'a str>,
    ride_id: Option<&'a str>,
}

impl<'a> OrderRecord<'a> {
    pub(super) fn of(order: &'a v1::Order) -> Self {
        let money = |money: &'a Option<v1::Money>| {
            money.as_ref().map_or((0, ""), |money| (money.amount_minor, money.currency_code.as_str()))
        };
        let (unit_price_minor, currency_code) = money(&order.unit_price);
        Self {
            order_id: order.order_id,
            status: match order.status() {
                v1::OrderStatus::Delivered => "delivered",
                v1::OrderStatus::Cancelled => "cancelled",
                v1::OrderStatus::Placed => "placed",
                v1::OrderStatus::Shipped => "shipped",
                v1::OrderStatus::Unspecified => "unknown",
            },
            buyer_id: &order.buyer_id,
            buyer_name: &order.buyer_name,
            seller_id: &order.seller_id,
            seller_name: &order.seller_name,
            item_id: order.item_id,
            item_name: &order.item_name,
            unit_price_minor,
            quantity: order.quantity,
            total_price_minor: money(&order.total_price).0,
            currency_code,
            place_time: time(order.place_time.as_ref()),
            ship_time: time(order.ship_time.as_ref()),
            deliver_time: time(order.deliver_time.as_ref()),
            cancel_time: time(order.cancel_time.as_ref()),
            cancelled_by: match order.cancelled_by() {
                v1::Role::Seller => Some("seller"),
                v1::Role::Buyer => Some("buyer"),
                v1::Role::Operator | v1::Role::Market | v1::Role::Unspecified => None,
            },
            cancel_reason: Some(order.cancel_reason.as_str()).filter(|reason| !reason.is_empty()),
            ride_id: Some(order.ride_id.as_str()).filter(|ride| !ride.is_empty()),
        }
    }

    pub(super) fn to_line(&self) -> Result<String, Failure> {
        serde_json::to_string(self).map_err(|error| Failure::io("encode an order", error.into()))
    }
}

fn time(time: Option<&souk_proto::Timestamp>) -> Option<String> {
    let time = time?;
    let nanos = i128::from(time.seconds) * NANOS + i128::from(time.nanos);
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?.format(&Rfc3339).ok()
}

/// The number of an archived order.
#[derive(Deserialize)]
pub(super) struct OrderNumber {
    order_id: i64,
}

impl OrderNumber {
    pub(super) fn read(line: &str, file: &Path) -> Result<i64, Failure> {
        serde_json::from_str::<Self>(line).map(|number| number.order_id).map_err(|_| unreadable(file))
    }
}
