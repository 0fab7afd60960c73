//! `seller items`: the seller's own items, ordered by id.

use clap::Args;
use souk_cli::{CliSession, Failure, Paging, view::ItemView};
use souk_proto::v1::DisplaySellerItemsRequest;

/// List the items that you sell
#[derive(Args)]
pub(crate) struct Items {
    #[command(flatten)]
    paging: Paging,
}

impl Items {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        self.paging
            .pages(session, async |page_size, page_token| {
                let request = DisplaySellerItemsRequest { page_size, page_token };
                let page = session.call(request).await?;
                Ok((page.items.iter().map(ItemView::from).collect(), page.next_page_token))
            })
            .await
    }
}
