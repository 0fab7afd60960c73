//! `seller show` and `seller order`: one item, or one order, with all of its fields.

use clap::Args;
use souk_cli::{
    CliSession, Failure,
    view::{ItemView, OrderView},
};
use souk_client::error::required;
use souk_proto::v1::{GetItemRequest, GetSaleRequest};

/// Show everything about an item
#[derive(Args)]
#[command(after_help = "Example:\n  seller show 7")]
pub(crate) struct Show {
    /// The item's id, as `items` shows it.
    item: i64,
}

/// Show everything about an order of one of your items
#[derive(Args)]
#[command(after_help = "Example:\n  seller order 12")]
pub(crate) struct Order {
    /// The order's id, as `sales` shows it.
    order: i64,
}

impl Show {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let found = session.call(GetItemRequest { item_id: self.item }).await?;
        session.printer().card(&ItemView::from(&required(found.item, "item")?))
    }
}

impl Order {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let found = session.call(GetSaleRequest { order_id: self.order }).await?;
        session.printer().card(&OrderView::from(&required(found.order, "order")?))
    }
}
