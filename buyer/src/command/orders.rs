//! `buyer orders` and `buyer order`.

use clap::Args;
use souk_cli::{CliSession, Failure, LivePaging, OrderFilter, view::OrderView};
use souk_client::error::required;
use souk_proto::v1::{GetOrderRequest, ListOrdersRequest};

/// List your orders, latest first
#[derive(Args)]
#[command(after_help = "Examples:\n  buyer orders\n  buyer orders --status shipped --from 2026-11-01")]
pub(crate) struct Orders {
    #[command(flatten)]
    filter: OrderFilter,
    #[command(flatten)]
    paging: LivePaging,
}

/// Show everything about one of your orders
#[derive(Args)]
#[command(after_help = "Example:\n  buyer order 12")]
pub(crate) struct Order {
    /// The order's id, as `orders` shows it.
    order: i64,
}

impl Orders {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let filter = self.filter;
        self.paging
            .pages(session, async |page_size, page_token| {
                let request = ListOrdersRequest {
                    page_size,
                    page_token,
                    item_id: filter.item,
                    status: filter.status(),
                    from_time: filter.time.from(),
                    until_time: filter.time.until(),
                };
                let page = session.call(request).await?;
                Ok((page.orders.iter().map(OrderView::from).collect(), page.next_page_token))
            })
            .await
    }
}

impl Order {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let request = GetOrderRequest { order_id: self.order };
        let found = session.call(request).await?;
        session.printer().card(&OrderView::from(&required(found.order, "order")?))
    }
}
