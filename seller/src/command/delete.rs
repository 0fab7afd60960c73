//! `seller delete` and `seller undelete`: withdraw items, and put them back on sale.

use clap::Args;
use souk_cli::{CliSession, Failure, view::ItemView};
use souk_client::error::required;
use souk_proto::v1::{DeleteItemRequest, UndeleteItemRequest};

use super::pick::{IdRange, Items, Picked, each, only_for_one};

/// Take items off the market; their orders stay, wishing buyers are notified
#[derive(Args)]
#[command(after_help = "Examples:
  seller delete 10 11
  seller delete --where \"status=sold-out, updated<2026-01-01\"
`seller undelete` puts them back on sale.")]
pub(crate) struct Delete {
    #[command(flatten)]
    items: Items,
    /// Don't ask for confirmation of the items that meet the conditions.
    #[arg(long, requires = "conditions")]
    yes: bool,
    /// Only if the item still has this version; for one item.
    #[arg(long, value_name = "VERSION")]
    expect_version: Option<i64>,
    /// Repeat an earlier call by its request id, for one item.
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

/// Put withdrawn items back on sale, under their old ids and with their ratings
///
/// Their stock does not come back by itself: only you know whether you still have it.
#[derive(Args)]
#[command(after_help = "Example:
  seller undelete 10 --quantity 5
`seller items --status withdrawn` lists what you have withdrawn.")]
pub(crate) struct Undelete {
    /// The ids: 4, or a range such as 9-12. Ids in a range that are not yours are skipped.
    #[arg(value_name = "ITEM", required = true)]
    ids: Vec<IdRange>,
    /// The units for sale of each item; with 0 it is listed as sold out.
    #[arg(long, value_name = "UNITS", default_value_t = 0, allow_negative_numbers = true)]
    quantity: i64,
    /// Only check, change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Only if the item still has this version; for one item.
    #[arg(long, value_name = "VERSION")]
    expect_version: Option<i64>,
    /// Repeat an earlier call by its request id, for one item.
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

impl Delete {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let Some(picked) = self.items.picked(session, "take off the market", self.yes).await? else {
            return Ok(());
        };
        only_for_one(&picked, "--expect-version", self.expect_version.is_some())?;
        only_for_one(&picked, "--request-id", self.request_id.is_some())?;
        let request_id = self.request_id.unwrap_or_default();
        each(session, ("item", "taken off the market"), &picked, async |item_id| {
            let request = DeleteItemRequest {
                request_id: request_id.clone(),
                item_id,
                expected_version: self.expect_version,
                ..Default::default()
            };
            let deleted = session.call(request).await?;
            let item = required(deleted.item, "item")?;
            session.printer().say(&format!(
                "item {item_id} is off the market, with {0} units withdrawn; `seller undelete {item_id} --quantity {0}` puts it back",
                item.quantity
            ));
            Ok(ItemView::from(&item))
        })
        .await
    }
}

impl Undelete {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let picked = Picked::all(&self.ids)?;
        only_for_one(&picked, "--expect-version", self.expect_version.is_some())?;
        only_for_one(&picked, "--request-id", self.request_id.is_some())?;
        let request_id = self.request_id.unwrap_or_default();
        if self.dry_run {
            session.printer().say("nothing is changed, only checked");
        }
        each(session, ("item", "put back on sale"), &picked, async |item_id| {
            let request = UndeleteItemRequest {
                request_id: request_id.clone(),
                validate_only: self.dry_run,
                item_id,
                expected_version: self.expect_version,
                quantity: self.quantity,
            };
            let back = session.call(request).await?;
            Ok(ItemView::from(&required(back.item, "item")?))
        })
        .await
    }
}
