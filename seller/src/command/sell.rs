//! `seller sell`: lists one item. `seller import` lists many.

use clap::Args;
use souk_cli::{CliSession, Failure, parse_money, view::ItemView};
use souk_client::error::required;
use souk_proto::v1::{ItemDraft, SellItemRequest};

/// List a new item
#[derive(Args)]
#[command(after_help = "Example:
  seller sell --name \"Brass lantern\" --category home/light --price \"12.50 GBP\" \\
      --quantity 10 --sku L-1")]
pub(crate) struct Sell {
    /// One line, up to 200 characters.
    #[arg(long)]
    name: String,
    /// Lower-case path, such as home/light.
    #[arg(long)]
    category: String,
    /// Price of one unit, such as "12.50 GBP".
    #[arg(long, allow_hyphen_values = true)]
    price: String,
    /// Units for sale, 1 to 1,000,000,000.
    #[arg(long, allow_negative_numbers = true)]
    quantity: i64,
    /// Your own number of it, 1 to 64 characters.
    #[arg(long)]
    sku: Option<String>,
    /// Up to 4,000 characters.
    #[arg(long)]
    description: Option<String>,
    /// Only check, change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Repeat an earlier call by its request id.
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

impl Sell {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        session.printer().expects::<ItemView>()?;
        let item = ItemDraft {
            sku: self.sku,
            name: Some(self.name),
            description: self.description,
            category: Some(self.category),
            unit_price: Some(parse_money(&self.price, session.currency())?),
            quantity: Some(self.quantity),
        };
        let request = SellItemRequest {
            request_id: self.request_id.unwrap_or_default(),
            validate_only: self.dry_run,
            item: Some(item),
        };
        let listed = session.call(request).await?;
        if self.dry_run {
            session.printer().say("all is well; nothing was listed");
        }
        session.printer().one(&ItemView::from(&required(listed.item, "item")?))
    }
}
