//! `buyer buy`: one order of one item, at the expected price if one is given.

use clap::Args;
use souk_cli::{CliSession, Failure, parse_money, view::OrderView};
use souk_client::error::required;
use souk_proto::v1::BuyItemRequest;

/// Buy units of an item
#[derive(Args)]
#[command(after_help = "Examples:
  buyer buy 7 --quantity 2 --expect-price \"12.50 GBP\"
  buyer buy 7 --dry-run")]
pub(crate) struct Buy {
    /// The item's id, as `search` shows it.
    item: i64,
    /// How many units to buy, 1 to 1,000,000.
    #[arg(long, default_value_t = 1, allow_negative_numbers = true)]
    quantity: i64,
    /// Only at this price of a unit, such as "12.50 GBP".
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    expect_price: Option<String>,
    /// Only check, change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Repeat an earlier call by its request id.
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

impl Buy {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        session.printer().expects::<OrderView>()?;
        let price = self.expect_price.as_deref().map(|price| parse_money(price, session.currency()));
        let request = BuyItemRequest {
            request_id: self.request_id.unwrap_or_default(),
            validate_only: self.dry_run,
            item_id: self.item,
            quantity: self.quantity,
            expected_unit_price: price.transpose()?,
        };
        let bought = session.call(request).await?;
        if self.dry_run {
            session.printer().say("all is well; nothing was bought");
        }
        session.printer().one(&OrderView::from(&required(bought.order, "order")?))
    }
}
