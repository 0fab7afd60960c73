//! The seller's items and orders, as far as they meet conditions.

use souk_cli::{CliSession, Failure, view::order_status};
use souk_client::error::required;
use souk_proto::v1::{DisplaySellerItemsRequest, GetItemRequest, Item, ListSalesRequest, Order, OrderStatus};

use super::condition::{Actual, Conditions, Field, Kind, Tested};

/// The number of rows of a page: the market's limit.
const PAGE: i32 = 200;
/// The maximum number of rows that one command looks at.
const MAX_ROWS: usize = 100_000;

const FOR_SALE: &str = "for-sale";
const SOLD_OUT: &str = "sold-out";
const ITEM_STATUSES: &[&str] = &[FOR_SALE, SOLD_OUT];
const ORDER_STATUSES: &[&str] = &["placed", "shipped", "delivered", "cancelled"];

impl Tested for Item {
    const FIELDS: &'static [Field<Self>] = &[
        Field { name: "id", kind: Kind::Number, of: |item| Actual::Number(item.item_id) },
        Field { name: "sku", kind: Kind::Key, of: |item| Actual::Text(&item.sku) },
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
            of: |order| Actual::Text(order_status(order.status())),
        },
        Field { name: "placed", kind: Kind::Time, of: |order| Actual::Time(order.place_time.as_ref()) },
    ];
}

/// Returns the caller's items that `keep` accepts: those on sale, or those that were withdrawn. The market has an index
/// for the id only, so all of them are read, page by page.
///
/// # Errors
/// Returns the error of a call, or one if there are more than [`MAX_ROWS`] items.
pub(crate) async fn items(
    session: &CliSession,
    withdrawn: bool,
    keep: impl Fn(&Item) -> bool,
) -> Result<Vec<Item>, Failure> {
    let limit = ("items", "write them to a file with `seller export`, and filter that");
    filtered(limit, keep, async |page_token| {
        let page = session.call(DisplaySellerItemsRequest { page_size: PAGE, page_token, withdrawn }).await?;
        Ok((page.items, page.next_page_token))
    })
    .await
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
        all.into_iter().find(|known| order_status(*known) == status)
    });
    let item_id = conditions.equal("item").and_then(|item| item.parse().ok()).filter(|item| *item > 0);
    let request = ListSalesRequest {
        item_id: item_id.unwrap_or(0),
        status: status.unwrap_or(OrderStatus::Unspecified).into(),
        ..Default::default()
    };
    sales(session, request, |order| conditions.hold(order)).await
}

/// Returns the orders of a list, across all of its pages, that `keep` accepts.
///
/// # Errors
/// Returns the error of a call, or one if more than [`MAX_ROWS`] orders were looked at.
pub(crate) async fn sales(
    session: &CliSession,
    request: ListSalesRequest,
    keep: impl Fn(&Order) -> bool,
) -> Result<Vec<Order>, Failure> {
    filtered(("orders", "narrow them down by status=… or item=…"), keep, async |page_token| {
        let request = ListSalesRequest { page_size: PAGE, page_token, ..request.clone() };
        let page = session.call(request).await?;
        Ok((page.orders, page.next_page_token))
    })
    .await
}

/// Returns the rows of a list, across all of its pages, that `keep` accepts. `fetch` gets a page token, and returns the
/// rows of the page and the next token. `noun` and `hint` are for the error of a list with too many rows.
async fn filtered<T>(
    (noun, hint): (&str, &str),
    keep: impl Fn(&T) -> bool,
    fetch: impl AsyncFn(String) -> Result<(Vec<T>, String), Failure>,
) -> Result<Vec<T>, Failure> {
    let (mut kept, mut read, mut page_token) = (Vec::new(), 0, String::new());
    loop {
        let (rows, next) = fetch(page_token).await?;
        read += rows.len();
        kept.extend(rows.into_iter().filter(&keep));
        if next.is_empty() {
            return Ok(kept);
        }
        if read >= MAX_ROWS {
            let message = format!("there are more than {MAX_ROWS} {noun}, too many to filter here");
            return Err(Failure::usage(message, hint));
        }
        page_token = next;
    }
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
