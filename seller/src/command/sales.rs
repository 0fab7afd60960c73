//! `seller sales`.

use clap::Args;
use souk_client::{
    Failure,
    cli::{CliSession, Paging, StatusFilter, view::OrderView},
};
use souk_proto::v1::ListSalesRequest;

/// List the orders of your items, latest first
#[derive(Args)]
pub(crate) struct Sales {
    /// Only orders of this item.
    #[arg(long, value_name = "ID", default_value_t = 0, hide_default_value = true)]
    item: i64,
    /// Only orders with this status.
    #[arg(long)]
    status: Option<StatusFilter>,
    #[command(flatten)]
    paging: Paging,
}

impl Sales {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let (item_id, status) = (self.item, StatusFilter::to_wire(self.status));
        self.paging
            .pages(session, async |page_size, page_token| {
                let request = ListSalesRequest { page_size, page_token, item_id, status };
                let page =
                    session.call(request, |c, r| async move { c.seller().list_sales(r).await }).await?;
                Ok((page.orders.iter().map(OrderView::from).collect(), page.next_page_token))
            })
            .await
    }
}
