//! `buyer orders` and `buyer order`.

use clap::Args;
use souk_client::{
    Failure,
    cli::{CliSession, Paging, StatusFilter, view::OrderView},
};
use souk_proto::v1::{GetOrderRequest, ListOrdersRequest};

/// List your orders, latest first
#[derive(Args)]
pub(crate) struct Orders {
    /// Only orders with this status.
    #[arg(long)]
    status: Option<StatusFilter>,
    #[command(flatten)]
    paging: Paging,
}

/// Show one of your orders
#[derive(Args)]
pub(crate) struct Order {
    /// The order's id.
    order: i64,
}

impl Orders {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let status = StatusFilter::to_wire(self.status);
        self.paging
            .pages(session, async |page_size, page_token| {
                let request = ListOrdersRequest { page_size, page_token, status };
                let page =
                    session.call(request, |c, r| async move { c.buyer().list_orders(r).await }).await?;
                Ok((page.orders.iter().map(OrderView::from).collect(), page.next_page_token))
            })
            .await
    }
}

impl Order {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let request = GetOrderRequest { order_id: self.order };
        let found = session.call(request, |c, r| async move { c.buyer().get_order(r).await }).await?;
        session.printer().one(&OrderView::from(&found.order.unwrap_or_default()))
    }
}
