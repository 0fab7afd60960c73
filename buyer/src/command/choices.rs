//! What buyers can choose from: items found by words, their wishes and orders, and the categories in use.

use souk_cli::{
    Choice, CliSession, Failure, Source,
    choices::{categories, matching, pages},
};
use souk_proto::{
    Reason,
    v1::{
        GetItemRequest, ListOrdersRequest, ListWishlistRequest, OrderStatus, SearchItemRequest, SearchOrder,
    },
};

/// The maximum number of found items to choose from; more words narrow them down.
const FOUND: i32 = 50;

/// Returns the source of an argument's values.
pub(super) fn source(command: &[&str], argument: &str) -> Option<Source> {
    match (command, argument) {
        (_, "category" | "parent") => Some(Source::Categories),
        (["wish", "rm"], _) => Some(Source::Wishes),
        (["rate"], "item") => Some(Source::Bought),
        (["cancel"], order) if order.starts_with("order") => Some(Source::Orders(OrderStatus::Placed)),
        (["track"], order) if order.starts_with("order") => Some(Source::Orders(OrderStatus::Shipped)),
        (_, order) if order.starts_with("order") => Some(Source::Orders(OrderStatus::Unspecified)),
        (["place"], "lines") => Some(Source::Items),
        (_, item) if item.starts_with("item") => Some(Source::Items),
        _ => None,
    }
}

/// Fetches the values of a source that match what was typed.
pub(super) async fn choices(
    source: Source,
    typed: &str,
    session: &CliSession,
) -> Result<Vec<Choice>, Failure> {
    let all = match source {
        // Searched by the market, which knows all items and forgives typos.
        Source::Items => return items(session, typed).await,
        Source::Wishes => wishes(session).await?,
        Source::Orders(status) => orders(session, status).await?,
        Source::Bought => bought(session).await?,
        Source::Categories => categories(session).await?,
        // Only sellers have the former, and the shell knows the latter itself.
        Source::Withdrawn | Source::Contexts => Vec::new(),
    };
    Ok(matching(all, typed))
}

async fn items(session: &CliSession, typed: &str) -> Result<Vec<Choice>, Failure> {
    if let Ok(item_id) = typed.trim().parse() {
        return match session.connection().await?.call(GetItemRequest { item_id }).await {
            Ok(found) => Ok(found.item.iter().map(Choice::item).collect()),
            Err(error) if error.reason() == Some(Reason::ItemNotFound) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        };
    }
    let order = if typed.trim().is_empty() { SearchOrder::Newest } else { SearchOrder::Relevance };
    let request = SearchItemRequest {
        query: typed.trim().to_owned(),
        page_size: FOUND,
        order_by: order.into(),
        ..SearchItemRequest::default()
    };
    Ok(session.call(request).await?.items.iter().map(Choice::item).collect())
}

async fn wishes(session: &CliSession) -> Result<Vec<Choice>, Failure> {
    pages(async |page_size, page_token| {
        let page = session.call(ListWishlistRequest { page_size, page_token }).await?;
        let items = page.wishes.iter().filter_map(|wish| wish.item.as_ref());
        Ok((items.map(Choice::item).collect(), page.next_page_token))
    })
    .await
}

async fn orders(session: &CliSession, status: OrderStatus) -> Result<Vec<Choice>, Failure> {
    pages(async |page_size, page_token| {
        let request = ListOrdersRequest {
            page_size,
            page_token,
            status: status.into(),
            ..ListOrdersRequest::default()
        };
        let page = session.call(request).await?;
        let choice = |order| Choice::order(order, &format!("from {}", order.seller_name));
        Ok((page.orders.iter().map(choice).collect(), page.next_page_token))
    })
    .await
}

/// Fetches the items of orders that were not cancelled, each once.
async fn bought(session: &CliSession) -> Result<Vec<Choice>, Failure> {
    let mut items: Vec<Choice> = pages(async |page_size, page_token| {
        let request = ListOrdersRequest { page_size, page_token, ..ListOrdersRequest::default() };
        let page = session.call(request).await?;
        let standing = page.orders.iter().filter(|order| order.status() != OrderStatus::Cancelled);
        Ok((standing.map(Choice::bought).collect(), page.next_page_token))
    })
    .await?;
    let mut known = std::collections::HashSet::new();
    items.retain(|item| known.insert(item.value.clone()));
    Ok(items)
}
