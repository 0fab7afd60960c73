//! `seller update`: changes the fields that have a flag. The stock is set, or changed by a signed number.

use clap::Args;
use souk_cli::{CliSession, Failure, parse_money, view::ItemView};
use souk_client::error::required;
use souk_proto::v1::{ItemDraft, UpdateItemRequest};

/// Change an item: price, stock, name, description, category, sku; notifies wishing buyers
#[derive(Args)]
#[command(after_help = "Examples:
  seller update 7 --price \"9.99 GBP\" --quantity +5
  seller update 7 --quantity 0")]
pub(crate) struct Update {
    /// The item's id, as `items` shows it.
    item: i64,
    /// The new name, 1 to 200 characters.
    #[arg(long)]
    name: Option<String>,
    /// The new description; empty removes it.
    #[arg(long)]
    description: Option<String>,
    /// The new category, such as electronics/audio.
    #[arg(long)]
    category: Option<String>,
    /// Your own number of it, if it has none yet; 1 to 64 characters.
    #[arg(long)]
    sku: Option<String>,
    /// New price, such as "9.99 GBP".
    #[arg(long, allow_hyphen_values = true)]
    price: Option<String>,
    /// New stock (5), or a change of it (+3, -2) that keeps purchases in between.
    #[arg(long, allow_hyphen_values = true)]
    quantity: Option<String>,
    /// Only if the item still has this version (`seller items --output json` shows it).
    #[arg(long, value_name = "VERSION")]
    expect_version: Option<i64>,
    /// Only check, change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Repeat an earlier call by its request id.
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

/// A stock, or a change of it.
#[derive(Debug, PartialEq)]
enum Stock {
    To(i64),
    By(i64),
}

impl Update {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        session.printer().expects::<ItemView>()?;
        let stock = self.quantity.as_deref().map(stock).transpose()?;
        let unit_price =
            self.price.as_deref().map(|price| parse_money(price, session.currency())).transpose()?;
        let request = UpdateItemRequest {
            request_id: self.request_id.unwrap_or_default(),
            validate_only: self.dry_run,
            item_id: self.item,
            item: Some(ItemDraft {
                sku: self.sku,
                name: self.name,
                description: self.description,
                category: self.category,
                unit_price,
                quantity: stock.as_ref().and_then(|stock| match stock {
                    Stock::To(units) => Some(*units),
                    Stock::By(_) => None,
                }),
            }),
            update_mask: None,
            expected_version: self.expect_version,
            quantity_delta: stock.as_ref().and_then(|stock| match stock {
                Stock::By(units) => Some(*units),
                Stock::To(_) => None,
            }),
        };
        let updated = session.call(request).await?;
        if self.dry_run {
            session.printer().say("all is well; nothing was changed");
        }
        session.printer().one(&ItemView::from(&required(updated.item, "item")?))
    }
}

fn stock(text: &str) -> Result<Stock, Failure> {
    let number: Option<i64> = text.parse().ok();
    match number {
        Some(units) if text.starts_with(['+', '-']) => Ok(Stock::By(units)),
        Some(units) => Ok(Stock::To(units)),
        None => Err(Failure::usage(
            format!("{text:?} is no number of units"),
            "write 5 to set the stock, +3 to add, -2 to take away",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_makes_it_a_change() {
        assert_eq!(stock("5").unwrap(), Stock::To(5));
        assert_eq!(stock("+3").unwrap(), Stock::By(3));
        assert_eq!(stock("-2").unwrap(), Stock::By(-2));
        for wrong in ["", "many", "1.5", "9223372036854775808"] {
            assert!(stock(wrong).is_err(), "{wrong}");
        }
    }
}
