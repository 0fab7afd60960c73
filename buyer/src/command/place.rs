//! `buyer place`: several orders in one call, at the current prices.

use std::str::FromStr;

use clap::Args;
use souk_cli::{CliSession, Failure, view::OrderView};
use souk_proto::v1::{OrderLine, PlaceOrderRequest};

/// Buy several items, all of them or none; each becomes an order of its own
#[derive(Args)]
#[command(after_help = "Example:\n  buyer place 7x2 3 12x5")]
pub(crate) struct Place {
    /// Items and their units: `7` is one unit of item 7, `3x2` two units of item 3.
    #[arg(required = true, value_name = "ITEM[xUNITS]")]
    lines: Vec<Line>,
    /// Only check, change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Repeat an earlier call by its request id.
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Line {
    item: i64,
    units: i64,
}

impl FromStr for Line {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (item, units) = text.split_once('x').unwrap_or((text, "1"));
        let number = |text: &str| text.parse().map_err(|_| "write it like 7 or 7x2".to_owned());
        Ok(Self { item: number(item)?, units: number(units)? })
    }
}

impl Place {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        session.printer().expects::<OrderView>()?;
        let lines = self.lines.iter().map(|line| OrderLine {
            item_id: line.item,
            quantity: line.units,
            expected_unit_price: None,
        });
        let request = PlaceOrderRequest {
            request_id: self.request_id.unwrap_or_default(),
            validate_only: self.dry_run,
            lines: lines.collect(),
        };
        let placed = session.call(request).await?;
        if self.dry_run {
            session.printer().say("all is well; nothing was bought");
        }
        session.printer().list(&placed.orders.iter().map(OrderView::from).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::Line;

    #[test]
    fn lines_are_items_and_units() {
        assert_eq!("7".parse(), Ok(Line { item: 7, units: 1 }));
        assert_eq!("3x12".parse(), Ok(Line { item: 3, units: 12 }));
        for wrong in ["", "x", "7x", "x2", "7x2x3", "lamp", "7 x 2"] {
            assert!(wrong.parse::<Line>().is_err(), "{wrong}");
        }
    }
}
