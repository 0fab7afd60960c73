//! `seller reprice`: changes the prices of many items by a percentage or an amount, after a look at the result.
//!
//! Rounding: a percentage is computed exactly and rounded once, to the nearest minor unit (such as a penny); halves are
//! rounded up. A price that is above 0 stays at [`MIN_PRICE_MINOR`] at least. No floating-point number is involved.

use std::str::FromStr;

use clap::Args;
use serde::Serialize;
use souk_cli::{
    Cell, CliSession, Column, DataField, Failure, Shown, format_money, parse_decimal, parse_money, plain,
    view::MoneyView,
};
use souk_proto::v1::{Item, ItemDraft, Money, UpdateItemRequest};

use super::pick::{Items, Picked, Tally, can_confirm, condition::is_amount, confirmed, counted, paced};

/// The lowest price that a change leads to, in minor units. A free item stays free.
const MIN_PRICE_MINOR: i64 = 1;
/// The highest price, in minor units: the market's limit.
const MAX_PRICE_MINOR: i64 = 1_000_000_000_000_000;
/// One percent, in the unit in which percentages are computed: two decimals can be given.
const PERCENT: i64 = 100;
/// The largest increase, in percent.
const MAX_PERCENT: i64 = 1_000;

/// Change the prices of items by a percentage or an amount, after showing you the new ones
#[derive(Args)]
#[command(after_help = "Examples:
  seller reprice --where \"category=home, stock>100\" --by -5%
  seller reprice 4 9-12 --by +0.50 --dry-run
A percentage is rounded to the nearest minor unit (such as a penny), halves up. No price gets below one minor unit.")]
pub(crate) struct Reprice {
    #[command(flatten)]
    items: Items,
    /// How much: -5%, +2.5%, or an amount such as +0.50 or "-1.00 GBP".
    #[arg(long, value_name = "CHANGE", allow_hyphen_values = true)]
    by: Change,
    /// Only show the new prices.
    #[arg(long)]
    dry_run: bool,
    /// Change the prices without asking.
    #[arg(long)]
    yes: bool,
}

/// A change of a price.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    /// In hundredths of a percent.
    Percent(i64),
    /// An amount without its sign, in the item's currency unless it names another.
    Amount { is_negative: bool, amount: String },
}

impl FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let is_negative = text.starts_with('-');
        let size = text.strip_prefix(['-', '+']).unwrap_or(text).trim();
        let Some(percent) = size.strip_suffix('%') else {
            if !is_amount(size) {
                return Err("write a percentage like -5%, or an amount like +0.50".to_owned());
            }
            return Ok(Self::Amount { is_negative, amount: size.to_owned() });
        };
        let hundredths = parse_decimal(percent.trim(), 2)
            .ok_or("write a percentage like -5% or +2.5%, with at most two decimals")?;
        let hundredths = if is_negative { -hundredths } else { hundredths };
        if hundredths <= -100 * PERCENT || hundredths > MAX_PERCENT * PERCENT {
            return Err(format!("give more than -100%, and at most {MAX_PERCENT}%"));
        }
        Ok(Self::Percent(hundredths))
    }
}

impl Change {
    /// Returns the new price.
    ///
    /// # Errors
    /// Returns why the price can't be changed so.
    fn of(&self, price: &Money) -> Result<Money, String> {
        let before = price.amount_minor;
        let after = match self {
            Self::Percent(hundredths) => {
                // Wider than a price, so that nothing overflows. Both factors are positive, so that adding a half before
                // the division rounds halves up.
                let whole = i128::from(100 * PERCENT);
                let exact = i128::from(before) * (whole + i128::from(*hundredths));
                let rounded = i64::try_from((exact + whole / 2) / whole);
                rounded.map(|rounded| rounded.max(MIN_PRICE_MINOR.min(before))).ok()
            }
            Self::Amount { is_negative, amount } => {
                let change =
                    parse_money(amount, Some(&price.currency_code)).map_err(|error| error.to_string())?;
                if change.currency_code != price.currency_code {
                    return Err(format!("its price is in {}", price.currency_code));
                }
                match is_negative {
                    true => before.checked_sub(change.amount_minor),
                    false => before.checked_add(change.amount_minor),
                }
            }
        };
        match after {
            Some(after) if after < MIN_PRICE_MINOR.min(before) => {
                Err("its price would be less than one minor unit".to_owned())
            }
            Some(amount_minor) if amount_minor <= MAX_PRICE_MINOR => {
                Ok(Money { amount_minor, currency_code: price.currency_code.clone() })
            }
            _ => Err("its price would be higher than the market allows".to_owned()),
        }
    }
}

/// An item's price, and the new one.
#[derive(Clone, Debug, Serialize)]
struct NewPrice {
    item_id: i64,
    name: String,
    unit_price_before: Option<MoneyView>,
    unit_price: Option<MoneyView>,
    #[serde(skip)]
    before: Money,
    #[serde(skip)]
    version: i64,
    #[serde(skip)]
    money: Money,
}

impl Shown for NewPrice {
    const LIST: &'static str = "prices";
    const COLUMNS: &'static [Column] =
        &[Column::number("ID"), Column::text("NAME"), Column::number("PRICE"), Column::number("NEW PRICE")];
    const SELECTABLE: &'static [DataField] = &[
        DataField::value("item_id"),
        DataField::value("name"),
        DataField::money("unit_price_before"),
        DataField::money("unit_price"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let prices = [&self.before, &self.money].map(|price| Cell::from(format_money(Some(price))));
        [self.item_id.into(), Cell::from(&self.name)].into_iter().chain(prices).collect()
    }
}

impl Reprice {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let items = self.items.read(session).await?;
        let changes = self.changes(&items)?;
        if changes.is_empty() {
            if !items.is_empty() {
                session.printer().say("no price changes");
            }
            return Ok(());
        }
        let question = format!("change the price of {}", counted(changes.len(), "item"));
        can_confirm(&question, self.yes || self.dry_run)?;
        session.printer().list(&changes)?;
        if self.dry_run {
            session.printer().say("nothing was changed");
            return Ok(());
        }
        if !confirmed(&question, self.yes).await? {
            return Ok(());
        }
        apply(session, &changes).await
    }

    /// Returns the prices that change. All are computed before the first one is sent.
    fn changes(&self, items: &[Item]) -> Result<Vec<NewPrice>, Failure> {
        let mut changes = Vec::new();
        for item in items {
            let before = item.unit_price.clone().unwrap_or_default();
            let money = self.by.of(&before).map_err(|problem| {
                Failure::usage(
                    format!("item {} ({}) can't be repriced: {problem}", item.item_id, plain(&item.name)),
                    "leave it out, or give another change; nothing was changed",
                )
            })?;
            if money != before {
                changes.push(NewPrice {
                    item_id: item.item_id,
                    name: plain(&item.name),
                    unit_price_before: MoneyView::new(Some(&before)),
                    unit_price: MoneyView::new(Some(&money)),
                    before,
                    version: item.version,
                    money,
                });
            }
        }
        Ok(changes)
    }
}

/// Sends the new prices. An item that has changed since it was read keeps its price, because its seller has not seen
/// the one that it has now.
async fn apply(session: &CliSession, changes: &[NewPrice]) -> Result<(), Failure> {
    let (mut tally, mut count) = (Tally::default(), 0);
    for change in changes {
        let request = UpdateItemRequest {
            item_id: change.item_id,
            item: Some(ItemDraft { unit_price: Some(change.money.clone()), ..Default::default() }),
            expected_version: Some(change.version),
            ..Default::default()
        };
        match paced(async || session.call(request.clone()).await).await {
            Ok(_) => {
                tally.done();
                count += 1;
            }
            Err(failure) => {
                let picked = Picked { id: change.item_id, is_of_range: false };
                tally.refused(session, ("item", picked), failure)?;
            }
        }
    }
    session.printer().say(&format!("{count} prices were changed"));
    tally.end(session, "price", "changed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repriced(amount_minor: i64, code: &str, by: &str) -> Result<i64, String> {
        let price = Money { amount_minor, currency_code: code.into() };
        by.parse::<Change>().unwrap().of(&price).map(|price| price.amount_minor)
    }

    #[test]
    fn percentages_are_rounded_to_the_nearest_minor_unit_halves_up() {
        for (before, by, after) in [
            (1_000, "-5%", 950),
            (1_250, "+2.5%", 1_281),
            (10, "-5%", 10),
            (30, "-5%", 29),
            (30, "5%", 32),
            (999, "-0.01%", 999),
            (3, "+33.33%", 4),
            (0, "+50%", 0),
            (MAX_PRICE_MINOR, "-0.01%", 999_900_000_000_000),
        ] {
            assert_eq!(repriced(before, "GBP", by), Ok(after), "{before} {by}");
        }
    }

    #[test]
    fn prices_stay_within_their_bounds() {
        assert_eq!(repriced(1, "GBP", "-99%"), Ok(1));
        assert_eq!(repriced(40, "GBP", "-99.99%"), Ok(1));
        assert_eq!(repriced(50, "GBP", "-0.49"), Ok(1));
        assert!(repriced(50, "GBP", "-0.50").is_err());
        assert_eq!(repriced(0, "GBP", "-5%"), Ok(0));
        assert!(repriced(0, "GBP", "-0.01").is_err());
        assert!(repriced(MAX_PRICE_MINOR, "GBP", "+0.01%").is_err());
        assert!(repriced(MAX_PRICE_MINOR, "GBP", "+0.01").is_err());
    }

    #[test]
    fn amounts_are_in_the_currency_of_the_item() {
        assert_eq!(repriced(500, "GBP", "+0.50"), Ok(550));
        assert_eq!(repriced(500, "JPY", "-50"), Ok(450));
        assert_eq!(repriced(500, "GBP", "-1.00 GBP"), Ok(400));
        assert!(repriced(500, "EUR", "-1.00 GBP").unwrap_err().contains("EUR"));
        assert!(repriced(500, "JPY", "+0.50").is_err());
    }

    #[test]
    fn what_is_no_change_is_refused() {
        for wrong in
            ["", "%", "five", "-100%", "-101%", "1000.01%", "1.234%", "1.%", ".5%", "--5%", "1e2%", "5,5%"]
        {
            assert!(wrong.parse::<Change>().is_err(), "{wrong}");
        }
    }
}
