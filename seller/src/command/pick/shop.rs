//! The seller's items and orders, as far as they meet conditions.

use souk_cli::{CliSession, Failure};
use souk_client::error::required;
use souk_proto::v1::{DisplaySellerItemsRequest, GetItemRequest, Item, ListSalesRequest, Order, OrderStatus};

use super::condition::{Actual, Conditions, Field, Kind, Tested};

/// The number of rows of a page: the market's limit.
const PAGE: i32 = 200;
/// The maximum number of rows that one command looks at.
const MAX_ROWS: usize = 100_000;

pub(crate) const FOR_SALE: &str = "for-sale";
pub(crate) const SOLD_OUT: &str = "sold-out";
const ITEM_STATUSES: &[&str] = &[FOR_SALE, SOLD_OUT];
const ORDER_STATUSES: &[&str] = &["placed", "shipped", "delivered", "cancelled"];

impl Tested for Item {
    const FIELDS: &'static [Field<Self>] = &[
        Field { name: "id", kind: Kind::Number, of: |item| Actual::Number(item.item_id) },
        Field { name: "sku", kind: Kind::Text, of: |item| Actual::Text(&item.sku) },
        Field { name: "name", kind: Kind::Text, of: |item| Actual::Text(&item.name) },
        Field { name: "category", kind: Kind::Category, of: |item| Actual::Text(&item.category) },
        Field { name: "price", kind: Kind::Money, of: |item| Actual::Money(item.unit_price.as_ref()) },
        Field { name: "stock", kind: Kind::Number, of: |item| Actual::Number(item.quantity) },
        Field {
            name: "status",
            kind: Kind::Word(ITEM_STATUSES),
            of: |item| Actual::Text(if item.quantity > 0 { FOR_SALE } else { SOLD_OUT }),
        },
        Field { name: "listed", kind: Kind::Time, of: |item| Actual::Time(item.create_time.as_ref()) },
        Field { name: "updated", kind: Kind::Time, of: |item| Actual::Time(item.update_time.as_ref()) },
    ];
}

impl Tested for Order {
    const FIELDS: &'static [Field<Self>] = &[
        Field { name: "id", kind: Kind::Number, of: |order| Actual::Number(order.order_id) },
        Field { name: "item", kind: Kind::Number, of: |order| Actual::Number(order.item_id) },
        Field { name: "name", kind: Kind::Text, of: |order| Actual::Text(&order.item_name) },
        Field { name: "buyer", kind: Kind::Text, of: |order| Actual::Text(&order.buyer_name) },
        Field { name: "units", kind: Kind::Number, of: |order| Actual::Number(order.quantity) },
        Field { name: "total", kind: Kind::Money, of: |order| Actual::Money(order.total_price.as_ref()) },
        Field {
            name: "status",
            kind: Kind::Word(ORDER_STATUSES),
            of: |order| Actual::Text(status_word(order.status())),
        },
        Field { name: "placed", kind: Kind::Time, of: |order| Actual::Time(order.place_time.as_ref()) },
    ];
}

fn status_word(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Unspecified => "unknown",
        OrderStatus::Placed => "placed",
        OrderStatus::Shipped => "shipped",
        OrderStatus::Delivered => "delivered",
        OrderStatus::Cancelled => "cancelled",
    }
}

/// Returns the caller's items that are to be kept: those on sale, or those that were withdrawn. The market has no
/// index for anything else than the id, so all of them are read, page by page.
///
/// # Errors
/// Returns the error of a call, or one if there are more than [`MAX_ROWS`] items.
pub(crate) async fn items(
    session: &CliSession,
    withdrawn: bool,
    keep: impl Fn(&Item) -> bool,
) -> Result<Vec<Item>, Failure> {
    let mut request = DisplaySellerItemsRequest { page_size: PAGE, withdrawn, ..Default::default() };
    let (mut kept, mut read) = (Vec::new(), 0);
    loop {
        let page = session.call(request.clone()).await?;
        read += page.items.len();
        kept.extend(page.items.into_iter().filter(&keep));
        if page.next_page_token.is_empty() {
            return Ok(kept);
        }
        if read >= MAX_ROWS {
            return Err(too_many("items", "write them to a file with `seller export`, and filter that"));
        }
        request.page_token = page.next_page_token;
    }
}

/// Returns the orders of the caller's items that meet the conditions, latest first. The market filters by status and
/// item.
///
/// # Errors
/// Returns the error of a call, or one if more than [`MAX_ROWS`] orders were looked at.
pub(crate) async fn orders(
    session: &CliSession,
    conditions: &Conditions<Order>,
) -> Result<Vec<Order>, Failure> {
    let status = conditions.equal("status").and_then(|status| {
        let all = [OrderStatus::Placed, OrderStatus::Shipped, OrderStatus::Delivered, OrderStatus::Cancelled];
        all.into_iter().find(|known| status_word(*known) == status)
    });
    let item_id = conditions.equal("item").and_then(|item| item.parse().ok()).filter(|item| *item > 0);
    let request = ListSalesRequest {
        item_id: item_id.unwrap_or(0),
        status: status.unwrap_or(OrderStatus::Unspecified).into(),
        ..Default::default()
    };
    sales(session, request, |order| conditions.hold(order)).await
}

/// Returns the orders of a list, across all of its pages, that are to be kept.
///
/// # Errors
/// Returns the error of a call, or one if more than [`MAX_ROWS`] orders were looked at.
pub(crate) async fn sales(
    session: &CliSession,
    mut request: ListSalesRequest,
    keep: impl Fn(&Order) -> bool,
) -> Result<Vec<Order>, Failure> {
    request.page_size = PAGE;
    let (mut kept, mut read) = (Vec::new(), 0);
    loop {
        let page = session.call(request.clone()).await?;
        read += page.orders.len();
        kept.extend(page.orders.into_iter().filter(&keep));
        if page.next_page_token.is_empty() {
            return Ok(kept);
        }
        if read >= MAX_ROWS {
            return Err(too_many("orders", "narrow them down by status=… or item=…"));
        }
        request.page_token = page.next_page_token;
    }
}

fn too_many(rows: &str, hint: &str) -> Failure {
    Failure::usage(format!("there are more than {MAX_ROWS} {rows}, too many to filter here"), hint)
}

/// Returns one of the caller's items on sale.
///
/// # Errors
/// Returns the error of the call, or that of an item which does not exist for one of another seller.
pub(crate) async fn own_item(session: &CliSession, item_id: i64) -> Result<Item, Failure> {
    let found = session.call(GetItemRequest { item_id }).await?;
    let item = required(found.item, "item")?;
    if item.seller_id != session.connection().await?.party().to_string() {
        return Err(Failure::undone(
            format!("item {item_id} is another seller's"),
            Some("`seller items` lists yours"),
            souk_cli::exit::NOT_FOUND,
        ));
    }
    Ok(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_items_and_orders_are_found_by_their_names() {
        let item =
            Item { quantity: 0, category: "home/light".into(), sku: "T-1".into(), ..Default::default() };
        for met in ["status=sold-out, category=home", "sku~t-", "stock<1, updated!=2026-01-01"] {
            let is_about_time = met.contains("updated");
            // A time that is missing meets no condition.
            assert_eq!(met.parse::<Conditions<Item>>().unwrap().hold(&item), !is_about_time, "{met}");
        }
        let order =
            Order { status: OrderStatus::Placed.into(), buyer_name: "Bob".into(), ..Default::default() };
        let conditions: Conditions<Order> = "status=placed, buyer=bob".parse().unwrap();
        assert!(conditions.hold(&order));
        assert_eq!(conditions.equal("status").as_deref(), Some("placed"));
        assert_eq!(conditions.equal("item"), None);
        assert!("status=lost".parse::<Conditions<Order>>().is_err());
    }
}
