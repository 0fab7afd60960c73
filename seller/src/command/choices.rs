//! What sellers can choose from: their items, their sales, and the categories in use.

use souk_cli::{
    Choice, CliSession, Failure, Source,
    choices::{CHOICES_MAX, categories, matching, pages},
    exit,
};
use souk_proto::v1::{DisplaySellerItemsRequest, ListSalesRequest, OrderStatus, SearchItemRequest};

use super::pick::shop;

/// The maximum number of found items to choose from; more words narrow them down.
const FOUND: i32 = 50;

/// Returns the source of an argument's values.
pub(super) fn source(command: &[&str], argument: &str) -> Option<Source> {
    match (command.first().copied(), argument) {
        (_, "category") => Some(Source::Categories),
        (Some("ship" | "cancel"), "ids") => Some(Source::Orders(OrderStatus::Placed)),
        (Some("deliver"), "ids") => Some(Source::Orders(OrderStatus::Shipped)),
        (Some("undelete"), "ids") => Some(Source::Withdrawn),
        (Some("ride"), "stops") => Some(Source::Orders(OrderStatus::Placed)),
        (_, "order") => Some(Source::Orders(OrderStatus::Unspecified)),
        (_, "item" | "ids") => Some(Source::Items),
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
        Source::Items => return items(session, typed.trim()).await,
        Source::Withdrawn => return withdrawn(session, typed.trim()).await,
        Source::Orders(status) => sales(session, status).await?,
        Source::Categories => categories(session).await?,
        // Only buyers have the first two, and the shell knows contexts itself.
        Source::Wishes | Source::Bought | Source::Contexts => Vec::new(),
    };
    Ok(matching(all, typed))
}

/// Returns the own items that match what was typed. Those of a shop with more items than are listed to choose from are
/// found by the market.
async fn items(session: &CliSession, typed: &str) -> Result<Vec<Choice>, Failure> {
    let first = first_items(session, false).await?;
    if first.len() < CHOICES_MAX || typed.is_empty() {
        return Ok(matching(first, typed));
    }
    if let Ok(item_id) = typed.parse() {
        return match shop::own_item(session, item_id).await {
            Ok(item) => Ok(vec![Choice::item(&item)]),
            Err(failure) if failure.exit_code() == exit::NOT_FOUND => Ok(Vec::new()),
            Err(failure) => Err(failure),
        };
    }
    let request = SearchItemRequest {
        query: typed.to_owned(),
        seller_id: session.connection().await?.party().to_string(),
        page_size: FOUND,
        ..SearchItemRequest::default()
    };
    Ok(session.call(request).await?.items.iter().map(Choice::item).collect())
}

/// Returns the withdrawn items that match what was typed. The market has no search for them, so all are looked through.
async fn withdrawn(session: &CliSession, typed: &str) -> Result<Vec<Choice>, Failure> {
    let first = first_items(session, true).await?;
    if first.len() < CHOICES_MAX || typed.is_empty() {
        return Ok(matching(first, typed));
    }
    let found = shop::items(session, true, |item| Choice::item(item).matches(typed)).await?;
    let mut found = matching(found.iter().map(Choice::item).collect(), typed);
    found.truncate(CHOICES_MAX);
    Ok(found)
}

async fn first_items(session: &CliSession, withdrawn: bool) -> Result<Vec<Choice>, Failure> {
    pages(async |page_size, page_token| {
        let page = session.call(DisplaySellerItemsRequest { page_size, page_token, withdrawn }).await?;
        Ok((page.items.iter().map(Choice::item).collect(), page.next_page_token))
    })
    .await
}

async fn sales(session: &CliSession, status: OrderStatus) -> Result<Vec<Choice>, Failure> {
    pages(async |page_size, page_token| {
        let request =
            ListSalesRequest { page_size, page_token, status: status.into(), ..ListSalesRequest::default() };
        let page = session.call(request).await?;
        let choice = |order| Choice::order(order, &format!("to {}", order.buyer_name));
        Ok((page.orders.iter().map(choice).collect(), page.next_page_token))
    })
    .await
}
