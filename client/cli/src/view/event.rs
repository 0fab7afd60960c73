//! Views of events. A table shows one sentence per event, JSON the fields that its kind has.

use serde::Serialize;
use souk_proto::v1::{self, event::Kind};

use super::{ItemView, MoneyView, OrderView};
use crate::{
    fields::DataField,
    money::format_money,
    output::Shown,
    plain,
    table::{Cell, Column},
    when::When,
};

/// An event, as a row or JSON object.
#[derive(Clone, Debug, Serialize)]
pub struct EventView {
    kind: &'static str,
    event_id: String,
    sequence: i64,
    occur_time: Option<When>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<OrderView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<ItemView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_quantity: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sku: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed_fields: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_unit_price: Option<MoneyView>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    back_in_stock: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip)]
    sentence: String,
}

impl From<&v1::Event> for EventView {
    fn from(event: &v1::Event) -> Self {
        let mut view = Self {
            kind: "unknown",
            event_id: plain(&event.event_id),
            sequence: event.sequence,
            occur_time: When::of(event.occur_time.as_ref()),
            order: None,
            item: None,
            item_id: None,
            item_version: None,
            remaining_quantity: None,
            sku: None,
            changed_fields: Vec::new(),
            previous_unit_price: None,
            back_in_stock: false,
            text: None,
            sentence: sentence(event),
        };
        view.add_kind(event.kind.as_ref());
        view
    }
}

impl EventView {
    fn add_kind(&mut self, kind: Option<&Kind>) {
        match kind {
            Some(Kind::OrderPlaced(placed)) => {
                self.kind = "order_placed";
                self.add_order(placed.order.as_ref(), placed.remaining_quantity, placed.item_version);
                self.sku = Some(plain(&placed.sku)).filter(|sku| !sku.is_empty());
            }
            Some(Kind::OrderCancelled(cancelled)) => {
                self.kind = "order_cancelled";
                self.add_order(
                    cancelled.order.as_ref(),
                    cancelled.remaining_quantity,
                    cancelled.item_version,
                );
                self.sku = Some(plain(&cancelled.sku)).filter(|sku| !sku.is_empty());
            }
            Some(Kind::OrderShipped(shipped)) => {
                self.kind = "order_shipped";
                self.order = shipped.order.as_ref().map(OrderView::from);
            }
            Some(Kind::OrderDelivered(delivered)) => {
                self.kind = "order_delivered";
                self.order = delivered.order.as_ref().map(OrderView::from);
            }
            Some(Kind::ItemUpdated(updated)) => {
                self.kind = "item_updated";
                self.item = updated.item.as_ref().map(ItemView::from);
                self.previous_unit_price = MoneyView::new(updated.previous_unit_price.as_ref());
                self.back_in_stock = updated.back_in_stock;
                self.changed_fields = updated.changed_fields.iter().map(|field| plain(field)).collect();
            }
            Some(Kind::ItemWithdrawn(withdrawn)) => {
                self.kind = "item_withdrawn";
                self.item_id = Some(withdrawn.item_id);
                self.item_version = Some(withdrawn.item_version);
            }
            Some(Kind::TestNotice(test)) => {
                self.kind = "test";
                self.text = Some(plain(&test.text));
            }
            None => {}
        }
    }

    fn add_order(&mut self, order: Option<&v1::Order>, remaining: i64, version: i64) {
        self.order = order.map(OrderView::from);
        self.remaining_quantity = Some(remaining);
        self.item_version = Some(version);
    }
}

impl Shown for EventView {
    const LIST: &'static str = "events";
    const COLUMNS: &'static [Column] = &[Column::prose("EVENT")];
    const SELECTABLE: &'static [DataField] = &[
        DataField::value("kind"),
        DataField::value("event_id"),
        DataField::value("sequence"),
        DataField::value("occur_time"),
        DataField::object("order", OrderView::FIELDS),
        DataField::object("item", ItemView::FIELDS),
        DataField::value("item_id"),
        DataField::value("item_version"),
        DataField::value("remaining_quantity"),
        DataField::value("sku"),
        DataField::value("changed_fields"),
        DataField::money("previous_unit_price"),
        DataField::value("back_in_stock"),
        DataField::value("text"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![Cell::from(&self.sentence)]
    }
}

/// Describes an event in a sentence for people.
pub fn sentence(event: &v1::Event) -> String {
    match &event.kind {
        Some(Kind::OrderPlaced(placed)) => {
            let Some(order) = &placed.order else { return incomplete("order") };
            format!(
                "sold: {} × {} to {} for {} (order {}, {} left)",
                order.quantity,
                plain(&order.item_name),
                plain(&order.buyer_name),
                format_money(order.total_price.as_ref()),
                order.order_id,
                placed.remaining_quantity
            )
        }
        Some(Kind::OrderCancelled(cancelled)) => {
            let Some(order) = &cancelled.order else { return incomplete("order") };
            let what = format!("cancelled: {}", parcel(order));
            match order.cancelled_by() {
                v1::Role::Seller => {
                    format!("{what} by {}: {}", plain(&order.seller_name), plain(&order.cancel_reason))
                }
                _ => format!(
                    "{what} by {} ({} in stock again)",
                    plain(&order.buyer_name),
                    cancelled.remaining_quantity
                ),
            }
        }
        Some(Kind::OrderShipped(shipped)) => {
            let Some(order) = &shipped.order else { return incomplete("order") };
            format!("on its way: {} from {}", parcel(order), plain(&order.seller_name))
        }
        Some(Kind::OrderDelivered(delivered)) => {
            let Some(order) = &delivered.order else { return incomplete("order") };
            format!("delivered: {} from {}", parcel(order), plain(&order.seller_name))
        }
        Some(Kind::ItemUpdated(updated)) => {
            let Some(item) = &updated.item else { return incomplete("item") };
            let stock =
                if item.quantity == 0 { "sold out".into() } else { format!("{} in stock", item.quantity) };
            let (name, price) = (plain(&item.name), format_money(item.unit_price.as_ref()));
            if updated.back_in_stock {
                format!("back in stock: {name} (item {}) for {price}, {stock}", item.item_id)
            } else if let Some(before) = &updated.previous_unit_price {
                let before = format_money(Some(before));
                format!("price down: {name} (item {}) is now {price}, was {before}, {stock}", item.item_id)
            } else {
                let what = plain(&updated.changed_fields.join(", "));
                format!("changed: {name} (item {}, {what}) is now {price}, {stock}", item.item_id)
            }
        }
        Some(Kind::ItemWithdrawn(withdrawn)) => {
            format!(
                "gone: {} (item {}) is no longer for sale",
                plain(&withdrawn.item_name),
                withdrawn.item_id
            )
        }
        Some(Kind::TestNotice(test)) => format!("test: {}", plain(&test.text)),
        None => "something happened that this version does not know of; update it to see more".to_owned(),
    }
}

/// Describes an event that violates the contract because a field is missing.
fn incomplete(field: &str) -> String {
    format!("the market sent an event without its {field}, which the contract requires")
}

fn parcel(order: &v1::Order) -> String {
    format!("order {}, {} × {}", order.order_id, order.quantity, plain(&order.item_name))
}
