//! What sellers can choose from: their items, their sales, and the categories in use.

use souk_cli::{
    Choice, CliSession, Failure, Source,
    choices::{categories, matching, pages},
};
use souk_proto::v1::{DisplaySellerItemsRequest, ListSalesRequest, OrderStatus};

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
        Source::Items => items(session, false).await?,
        Source::Withdrawn => items(session, true).await?,
        Source::Orders(status) => sales(session, status).await?,
        Source::Categories => categories(session).await?,
        // Only buyers have these.
        Source::Wishes | Source::Bought => Vec::new(),
    };
    Ok(matching(all, typed))
}

async fn items(session: &CliSession, withdrawn: bool) -> Result<Vec<Choice>, Failure> {
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
