//! Views of orders, the same for buyers and sellers.

use serde::Serialize;
use souk_proto::v1;

use super::MoneyView;
use crate::{
    fields::DataField,
    money::format_money,
    output::Shown,
    plain,
    table::{Cell, Column, Tone},
    when::When,
};

/// An order, as its buyer and its seller see it: a row, a card or a JSON object.
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
    place_time: Option<When>,
    ship_time: Option<When>,
    deliver_time: Option<When>,
    cancel_time: Option<When>,
    cancelled_by: Option<&'static str>,
    cancel_reason: String,
    #[serde(skip)]
    price: String,
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
            place_time: When::of(order.place_time.as_ref()),
            ship_time: When::of(order.ship_time.as_ref()),
            deliver_time: When::of(order.deliver_time.as_ref()),
            cancel_time: When::of(order.cancel_time.as_ref()),
            cancelled_by: match order.cancelled_by() {
                v1::Role::Seller => Some("seller"),
                v1::Role::Buyer => Some("buyer"),
                v1::Role::Operator | v1::Role::Market | v1::Role::Unspecified => None,
            },
            cancel_reason: plain(&order.cancel_reason),
            price: format_money(order.unit_price.as_ref()),
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

/// The fields of an order, also in CSV files.
const FIELDS: &[DataField] = &[
    DataField::value("order_id"),
    DataField::value("item_id"),
    DataField::value("item_name"),
    DataField::value("quantity"),
    DataField::money("unit_price"),
    DataField::money("total_price"),
    DataField::value("status"),
    DataField::value("buyer_name"),
    DataField::value("buyer_id"),
    DataField::value("seller_name"),
    DataField::value("seller_id"),
    DataField::value("place_time"),
    DataField::value("ship_time"),
    DataField::value("deliver_time"),
    DataField::value("cancel_time"),
    DataField::value("cancelled_by"),
    DataField::value("cancel_reason"),
];

impl OrderView {
    fn status_cell(&self) -> Cell {
        Cell::from(self.status).tone(match self.status {
            "placed" => Tone::Waiting,
            "shipped" => Tone::Busy,
            "delivered" => Tone::Good,
            "cancelled" => Tone::Bad,
            _ => Tone::Plain,
        })
    }
}

impl Shown for OrderView {
    const LIST: &'static str = "orders";
    const COLUMNS: &'static [Column] = &[
        Column::number("ORDER"),
        Column::number("ITEM").rank(5),
        Column::text("NAME"),
        Column::number("UNITS").rank(3),
        Column::number("TOTAL"),
        Column::word("STATUS"),
        Column::text("BUYER").rank(4).names_user_of("buyer"),
        Column::text("SELLER").rank(4).names_user_of("seller"),
        Column::word("PLACED").rank(2),
    ];
    const CARD: &'static [Column] = &[
        Column::number("order"),
        Column::word("status"),
        Column::prose("item"),
        Column::number("item id"),
        Column::number("units"),
        Column::number("unit price"),
        Column::number("total"),
        Column::prose("buyer").names_user_of("buyer"),
        Column::word("buyer id").names_user_of("buyer"),
        Column::prose("seller").names_user_of("seller"),
        Column::word("seller id").names_user_of("seller"),
        Column::word("placed"),
        Column::word("shipped"),
        Column::word("delivered"),
        Column::word("cancelled"),
        Column::word("cancelled by"),
        Column::prose("reason"),
    ];
    const FIELDS: &'static [DataField] = FIELDS;

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.order_id.into(),
            self.item_id.into(),
            Cell::from(&self.item_name),
            self.quantity.into(),
            Cell::from(&self.total),
            self.status_cell(),
            Cell::from(&self.buyer_name),
            Cell::from(&self.seller_name),
            Cell::time(self.place_time),
        ]
    }

    fn card_cells(&self) -> Vec<Cell> {
        vec![
            self.order_id.into(),
            self.status_cell(),
            Cell::from(&self.item_name),
            self.item_id.into(),
            self.quantity.into(),
            Cell::from(&self.price),
            Cell::from(&self.total),
            Cell::from(&self.buyer_name),
            Cell::from(&self.buyer_id),
            Cell::from(&self.seller_name),
            Cell::from(&self.seller_id),
            Cell::time(self.place_time),
            Cell::time(self.ship_time),
            Cell::time(self.deliver_time),
            Cell::time(self.cancel_time),
            Cell::or_dash(self.cancelled_by),
            Cell::or_dash(Some(self.cancel_reason.as_str())),
        ]
    }
}
