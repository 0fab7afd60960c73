//! Conversion of domain types to messages of the contract.

use std::time::Duration;

use prost_types::Timestamp as WireTime;
use souk_domain::{
    Callback, Category, DaySales, Event, EventKind, Item, ItemSales, Money, Order, OrderStatus, Party,
    PartyId, Place, RatingSummary, Ride, RideKind, Role, SalesSummary, Sku, Timestamp, Wish,
};
use souk_proto::v1;
use souk_search::{SearchCursor, SearchPage};
use souk_store::{Delivery, TrackPoint};

use super::page::{MAX_PAGE_BYTES, Page, within};

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Converts a time, in microseconds since 1970, to its message.
pub fn timestamp(time: Timestamp) -> WireTime {
    let nanos = i32::try_from(time.0.rem_euclid(MICROS_PER_SECOND) * 1_000).unwrap_or(0);
    WireTime { seconds: time.0.div_euclid(MICROS_PER_SECOND), nanos }
}

/// Converts an amount of money to its message.
pub fn money(money: Money) -> v1::Money {
    v1::Money { amount_minor: money.amount_minor(), currency_code: money.currency_code().to_owned() }
}

/// Converts the ratings of an item to their message. `None` if there are none, since unrated is not a mean of 0.
pub fn rating(rating: RatingSummary) -> Option<v1::RatingSummary> {
    rating.mean().map(|mean| v1::RatingSummary { count: rating.count, mean })
}

/// Converts an item to the message that every party may see.
pub fn item(item: &Item) -> v1::Item {
    v1::Item {
        item_id: item.id.0,
        seller_id: item.seller.to_string(),
        seller_name: item.seller_name.as_str().to_owned(),
        name: item.name.as_str().to_owned(),
        description: item.description.as_str().to_owned(),
        category: item.category.as_str().to_owned(),
        unit_price: Some(money(item.unit_price)),
        quantity: item.quantity,
        rating: rating(item.rating),
        version: item.version,
        create_time: Some(timestamp(item.created_at)),
        update_time: Some(timestamp(item.updated_at)),
        sku: shown_sku(item.sku.as_ref()),
        withdraw_time: item.deleted_at.map(timestamp),
    }
}

fn shown_sku(sku: Option<&Sku>) -> String {
    sku.map(|sku| sku.as_str().to_owned()).unwrap_or_default()
}

/// Converts an order to the message for its buyer and its seller.
pub fn order(order: &Order) -> v1::Order {
    v1::Order {
        order_id: order.id.0,
        buyer_id: order.buyer.to_string(),
        buyer_name: order.buyer_name.as_str().to_owned(),
        seller_id: order.seller.to_string(),
        seller_name: order.seller_name.as_str().to_owned(),
        item_id: order.item.0,
        item_name: order.item_name.as_str().to_owned(),
        unit_price: Some(money(order.unit_price)),
        quantity: order.quantity,
        total_price: Some(money(order.total_price)),
        status: order_status(order.status).into(),
        place_time: Some(timestamp(order.placed_at)),
        cancel_time: order.cancelled_at.map(timestamp),
        ship_time: order.shipped_at.map(timestamp),
        deliver_time: order.delivered_at.map(timestamp),
        cancelled_by: order.cancelled_by.map_or(v1::Role::Unspecified, role).into(),
        ride_id: order.ride.map(|ride| ride.to_string()).unwrap_or_default(),
        cancel_reason: order
            .cancel_reason
            .as_ref()
            .map(|reason| reason.as_str().to_owned())
            .unwrap_or_default(),
    }
}

/// Converts an order status to its message.
pub fn order_status(status: OrderStatus) -> v1::OrderStatus {
    match status {
        OrderStatus::Placed => v1::OrderStatus::Placed,
        OrderStatus::Shipped => v1::OrderStatus::Shipped,
        OrderStatus::Delivered => v1::OrderStatus::Delivered,
        OrderStatus::Cancelled => v1::OrderStatus::Cancelled,
    }
}

/// Converts a wish and its item to their message.
pub fn wish(wish: &Wish, of: &Item) -> v1::Wish {
    v1::Wish { item: Some(item(of)), add_time: Some(timestamp(wish.added_at)) }
}

/// Converts a role to its message.
pub fn role(role: Role) -> v1::Role {
    match role {
        Role::Seller => v1::Role::Seller,
        Role::Buyer => v1::Role::Buyer,
    }
}

/// Converts a callback address to its message.
pub fn callback(callback: &Callback) -> v1::CallbackAddress {
    v1::CallbackAddress { host: callback.host.clone(), port: u32::from(callback.port) }
}

/// Converts a party to the account message, which only the party itself and operators may see.
pub fn account(party: &Party) -> v1::Account {
    v1::Account {
        party_id: party.id.to_string(),
        role: role(party.role).into(),
        display_name: party.display_name.as_str().to_owned(),
        register_time: Some(timestamp(party.registered_at)),
        callback: party.callback.as_ref().map(callback),
    }
}

/// Converts a party to the message for operators.
pub fn party_record(party: &Party) -> v1::PartyRecord {
    let suspension = party.suspension.as_ref().map(|suspension| v1::Suspension {
        suspend_time: Some(timestamp(suspension.since)),
        reason: suspension.reason.as_str().to_owned(),
    });
    v1::PartyRecord { account: Some(account(party)), suspension }
}

/// Converts a delivery to the event message for its recipient.
pub fn event(recipient: PartyId, delivery: &Delivery) -> v1::Event {
    v1::Event {
        event_id: delivery.event.id.to_string(),
        sequence: delivery.sequence.0,
        recipient_id: recipient.to_string(),
        occur_time: Some(timestamp(delivery.event.occurred_at)),
        kind: Some(event_kind(&delivery.event)),
    }
}

fn event_kind(event: &Event) -> v1::event::Kind {
    use v1::event::Kind;
    match &event.kind {
        EventKind::OrderPlaced { order: placed, remaining_quantity, item_version, sku } => {
            Kind::OrderPlaced(v1::OrderPlaced {
                order: Some(order(placed)),
                remaining_quantity: *remaining_quantity,
                item_version: *item_version,
                sku: shown_sku(sku.as_ref()),
            })
        }
        EventKind::OrderShipped { order: shipped } => {
            Kind::OrderShipped(v1::OrderShipped { order: Some(order(shipped)) })
        }
        EventKind::OrderDelivered { order: delivered } => {
            Kind::OrderDelivered(v1::OrderDelivered { order: Some(order(delivered)) })
        }
        EventKind::OrderCancelled { order: cancelled, remaining_quantity, item_version, sku } => {
            Kind::OrderCancelled(v1::OrderCancelled {
                order: Some(order(cancelled)),
                remaining_quantity: *remaining_quantity,
                item_version: *item_version,
                sku: shown_sku(sku.as_ref()),
            })
        }
        EventKind::ItemUpdated { item: updated, changed_fields, previous_price, back_in_stock, .. } => {
            Kind::ItemUpdated(v1::ItemUpdated {
                item: Some(item(updated)),
                changed_fields: changed_fields.clone(),
                previous_unit_price: previous_price.map(money),
                back_in_stock: *back_in_stock,
            })
        }
        EventKind::ItemWithdrawn { item, item_name, item_version } => {
            Kind::ItemWithdrawn(v1::ItemWithdrawn {
                item_id: item.0,
                item_name: item_name.clone(),
                item_version: *item_version,
            })
        }
        EventKind::Test { text } => Kind::TestNotice(v1::TestNotice { text: text.clone() }),
    }
}

/// Converts a sales summary to its message.
pub fn sales_summary(summary: &SalesSummary) -> v1::SummarizeSalesResponse {
    let days = summary.days.iter().map(|DaySales { day, sales }| v1::DaySales {
        day: Some(WireTime { seconds: day * SECONDS_PER_DAY, nanos: 0 }),
        order_count: sales.orders,
        quantity: sales.units,
        revenue: Some(money(sales.revenue)),
    });
    let items = summary.items.iter().map(|ItemSales { item, name, sales }| v1::ItemSales {
        item_id: item.0,
        item_name: name.clone(),
        order_count: sales.orders,
        quantity: sales.units,
        revenue: Some(money(sales.revenue)),
    });
    v1::SummarizeSalesResponse { days: days.collect(), items: items.collect() }
}

/// Converts a ride to the message for its seller.
pub fn ride(ride: &Ride) -> v1::Ride {
    let stops = ride
        .plan
        .stops
        .iter()
        .map(|stop| v1::RideStop { order_id: stop.order.0, destination: stop.destination.map(location) });
    v1::Ride {
        ride_id: ride.id.to_string(),
        kind: match ride.plan.kind {
            RideKind::Regular => v1::RideKind::Regular,
            RideKind::Pooled => v1::RideKind::Pooled,
        }
        .into(),
        vehicle: ride.plan.vehicle.as_str().to_owned(),
        driver: ride.plan.driver.as_str().to_owned(),
        start: Some(location(ride.plan.start)),
        stops: stops.collect(),
        start_time: Some(timestamp(ride.started_at)),
        end_time: ride.ended_at.map(timestamp),
    }
}

/// Converts a position of a ride, and the estimated time to the destination, to their message.
pub fn ride_position(point: &TrackPoint, eta: Option<Duration>) -> v1::RidePosition {
    v1::RidePosition {
        sequence: point.sequence,
        location: Some(location(point.fix.place)),
        time: Some(timestamp(point.fix.at)),
        distance_meters: point.meters,
        eta: eta.and_then(|eta| prost_types::Duration::try_from(eta).ok()),
    }
}

fn location(place: Place) -> v1::Location {
    let (latitude, longitude) = place.degrees();
    v1::Location { latitude, longitude }
}

/// Converts a page of search results to the response. `page` is the page that was asked for.
pub fn search_page(
    found: &SearchPage,
    page: &Page<SearchCursor>,
    as_of: Option<Timestamp>,
) -> v1::SearchItemResponse {
    let items = within(MAX_PAGE_BYTES, found.items.iter().map(|found| item(found)));
    // The page may end before what was found does.
    let last = (items.len() < found.items.len()).then(|| items.len() - 1);
    let next = last.map_or(found.next, |last| found.cursors.get(last).copied());
    v1::SearchItemResponse {
        items,
        next_page_token: page.next_token(next.as_ref()),
        total_size: i64::try_from(found.total).unwrap_or(i64::MAX),
        categories: found.categories.iter().map(category_count).collect(),
        as_of_time: as_of.map(timestamp),
        did_you_mean: found.did_you_mean.clone().unwrap_or_default(),
        is_wordless: found.is_wordless,
    }
}

/// Converts a category and its number of items to their message.
pub fn category_count((category, items): &(Category, u64)) -> v1::CategoryCount {
    v1::CategoryCount {
        category: category.as_str().to_owned(),
        item_count: i64::try_from(*items).unwrap_or(i64::MAX),
    }
}
