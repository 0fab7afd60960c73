//! Views of orders, the same for buyers and sellers.

use serde::Serialize;
use souk_proto::v1;

use super::{MoneyView, or_dash, time};
use crate::{money::format_money, output::Shown, plain};

/// An order, as its buyer and its seller see it.
#[derive(Clone, Debug, Serialize)]
pub struct OrderView {
    order_id: i64,
    item_id: i64,
    item_name: String,
    quantity: i64,
    unit_price: Option<MoneyView>,
    total_price: Option<MoneyView>,
    status: &'static str,
    buyer_name: String,
    buyer_id: String,
    seller_name: String,
    seller_id: String,
    place_time: Option<String>,
    ship_time: Option<String>,
    deliver_time: Option<String>,
    cancel_time: Option<String>,
    cancelled_by: Option<&'static str>,
    cancel_reason: String,
    #[serde(skip)]
    total: String,
}

impl From<&v1::Order> for OrderView {
    fn from(order: &v1::Order) -> Self {
        Self {
            order_id: order.order_id,
            item_id: order.item_id,
            item_name: plain(&order.item_name),
            quantity: order.quantity,
            unit_price: MoneyView::new(order.unit_price.as_ref()),
            total_price: MoneyView::new(order.total_price.as_ref()),
            status: status(order.status()),
            buyer_name: plain(&order.buyer_name),
            buyer_id: plain(&order.buyer_id),
            seller_name: plain(&order.seller_name),
            seller_id: plain(&order.seller_id),
            place_time: time(order.place_time.as_ref()),
            ship_time: time(order.ship_time.as_ref()),
            deliver_time: time(order.deliver_time.as_ref()),
            cancel_time: time(order.cancel_time.as_ref()),
            cancelled_by: match order.cancelled_by() {
                v1::Role::Seller => Some("seller"),
                v1::Role::Buyer => Some("buyer"),
                v1::Role::Operator | v1::Role::Unspecified => None,
            },
            cancel_reason: plain(&order.cancel_reason),
            total: format_money(order.total_price.as_ref()),
        }
    }
}

/// Returns a status as one word.
pub fn status(status: v1::OrderStatus) -> &'static str {
    match status {
        v1::OrderStatus::Unspecified => "unknown",
        v1::OrderStatus::Placed => "placed",
        v1::OrderStatus::Shipped => "shipped",
        v1::OrderStatus::Delivered => "delivered",
        v1::OrderStatus::Cancelled => "cancelled",
    }
}

impl Shown for OrderView {
    const HEADINGS: &'static [&'static str] =
        &["ORDER", "ITEM", "NAME", "UNITS", "TOTAL", "STATUS", "BUYER", "SELLER", "PLACED"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.order_id.to_string(),
            self.item_id.to_string(),
            self.item_name.clone(),
            self.quantity.to_string(),
            self.total.clone(),
            self.status.to_owned(),
            self.buyer_name.clone(),
            self.seller_name.clone(),
            or_dash(self.place_time.clone()),
        ]
    }
}
