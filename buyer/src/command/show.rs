//! `buyer show`: one item with all of its fields, those that lists leave out included.

use clap::Args;
use souk_cli::{CliSession, Failure, view::ItemView};
use souk_client::error::required;
use souk_proto::v1::GetItemRequest;

/// Show everything about an item
#[derive(Args)]
#[command(after_help = "Example:\n  buyer show 7")]
pub(crate) struct Show {
    /// The item's id, as `search` shows it.
    item: i64,
}

impl Show {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let request = GetItemRequest { item_id: self.item };
        let found = session.call(request).await?;
        session.printer().card(&ItemView::from(&required(found.item, "item")?))
    }
}
