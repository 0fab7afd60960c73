//! `seller delete`: withdraws one item, on condition of its version if the seller gives one.

use clap::Args;
use souk_cli::{CliSession, Failure, view::ItemView};
use souk_client::error::required;
use souk_proto::v1::DeleteItemRequest;

/// Take an item off the market; its orders stay, wishing buyers are notified
#[derive(Args)]
pub(crate) struct Delete {
    /// The item's id, as `items` shows it.
    item: i64,
    /// Only if the item still has this version.
    #[arg(long, value_name = "VERSION")]
    expect_version: Option<i64>,
    /// Repeat an earlier call by its request id.
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

impl Delete {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let request = DeleteItemRequest {
            request_id: self.request_id.unwrap_or_default(),
            item_id: self.item,
            expected_version: self.expect_version,
            ..Default::default()
        };
        let deleted = session.call(request).await?;
        let item = required(deleted.item, "item")?;
        session.printer().say(&format!("off the market, with {} units withdrawn:", item.quantity));
        session.printer().one(&ItemView::from(&item))
    }
}
