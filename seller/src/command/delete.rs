//! `seller delete` and `seller undelete`: withdraw items, and put them back on sale.

use std::{
    cell::{Cell, RefCell},
    str::FromStr,
};

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
/// Their stock does not come back by itself: only you know whether you still have it. `delete` prints the command that puts
/// back what it took off.
#[derive(Args)]
#[command(after_help = "Examples:
  seller undelete 4x3 5x10 9-12x1
  seller undelete 4 5 9-12 --quantity 5
`seller items --status withdrawn` lists what you have withdrawn.")]
pub(crate) struct Undelete {
    /// The ids: 4, or a range such as 9-12; each may have its own units: 4x3. Ids in a range that are not yours are
    /// skipped.
    #[arg(value_name = "ITEM[xUNITS]", required = true)]
    ids: Vec<Returning>,
    /// The units for sale of each of the others [default: 0, listed as sold out].
    #[arg(long, value_name = "UNITS", allow_negative_numbers = true)]
    quantity: Option<i64>,
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

/// The maximum number of items in the command that puts back what was deleted.
const MAX_SUGGESTED: usize = 200;

/// Ids such as `4` or `9-12`, perhaps with the units of each, such as `4x3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Returning {
    ids: IdRange,
    units: Option<i64>,
}

impl FromStr for Returning {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem =
            || "write an id like 12, a range like 9-12, or either with its units, like 12x5".to_owned();
        let (ids, units) = match text.split_once('x') {
            Some((ids, units)) => (ids, Some(units.parse().map_err(|_| problem())?)),
            None => (text, None),
        };
        Ok(Self { ids: ids.parse().map_err(|_: String| problem())?, units })
    }
}

/// Returns the units of an item, as far as they were given with its id.
///
/// # Errors
/// They were given more than once, and differ.
fn units_of(item_id: i64, returning: &[Returning]) -> Result<Option<i64>, Failure> {
    let mut given = returning.iter().filter(|some| some.ids.contains(item_id)).filter_map(|some| some.units);
    let first = given.next();
    match given.find(|units| Some(*units) != first) {
        None => Ok(first),
        Some(other) => Err(Failure::usage(
            format!("item {item_id} is to have {} units and {other} units", first.unwrap_or(0)),
            "give the units of an item once",
        )),
    }
}

impl Delete {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let Some(picked) = self.items.picked(session, "take off the market", self.yes).await? else {
            return Ok(());
        };
        only_for_one(&picked, "--expect-version", self.expect_version.is_some())?;
        only_for_one(&picked, "--request-id", self.request_id.is_some())?;
        let request_id = self.request_id.unwrap_or_default();
        let is_alone = picked.len() == 1;
        let taken = RefCell::new(Vec::new());
        let outcome = each(session, ("item", "taken off the market"), &picked, async |item_id| {
            let request = DeleteItemRequest {
                request_id: request_id.clone(),
                item_id,
                expected_version: self.expect_version,
                ..Default::default()
            };
            let deleted = session.call(request).await?;
            let item = required(deleted.item, "item")?;
            let units = item.quantity;
            let back = format!("; `seller undelete {item_id} --quantity {units}` puts it back");
            session.printer().say(&format!(
                "item {item_id} is off the market, with {units} units withdrawn{}",
                if is_alone { back.as_str() } else { "" }
            ));
            taken.borrow_mut().push(format!("{item_id}x{units}"));
            Ok(ItemView::from(&item))
        })
        .await;
        let taken = taken.into_inner();
        if !is_alone && (1..=MAX_SUGGESTED).contains(&taken.len()) {
            session.printer().say(&format!("`seller undelete {}` puts them back", taken.join(" ")));
        }
        outcome
    }
}

impl Undelete {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let picked = Picked::all(&self.ids.iter().map(|some| some.ids).collect::<Vec<_>>())?;
        for Picked { id, .. } in &picked {
            units_of(*id, &self.ids)?;
        }
        only_for_one(&picked, "--expect-version", self.expect_version.is_some())?;
        only_for_one(&picked, "--request-id", self.request_id.is_some())?;
        let request_id = self.request_id.unwrap_or_default();
        if self.dry_run {
            session.printer().say("nothing is changed, only checked");
        }
        let sold_out = Cell::new(0);
        let outcome = each(session, ("item", "put back on sale"), &picked, async |item_id| {
            let units = units_of(item_id, &self.ids)?.or(self.quantity);
            let request = UndeleteItemRequest {
                request_id: request_id.clone(),
                validate_only: self.dry_run,
                item_id,
                expected_version: self.expect_version,
                quantity: units.unwrap_or(0),
            };
            let back = session.call(request).await?;
            sold_out.set(sold_out.get() + usize::from(units.is_none()));
            Ok(ItemView::from(&required(back.item, "item")?))
        })
        .await;
        if sold_out.get() > 0 && !self.dry_run {
            session.printer().say(&format!(
                "put back as sold out, because no stock was given: {}; set it with `seller update ID --quantity N`",
                sold_out.get()
            ));
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_have_units_of_their_own_or_none() {
        let all: Vec<Returning> = ["4x3", "9-12x1", "5"].map(|text| text.parse().unwrap()).to_vec();
        let units = [4, 9, 12, 5, 7].map(|id| units_of(id, &all).unwrap());
        assert_eq!(units, [Some(3), Some(1), Some(1), None, None]);
        let twice: Vec<Returning> = ["4x3", "4", "1-9x5"].map(|text| text.parse().unwrap()).to_vec();
        assert!(units_of(4, &twice).is_err());
        assert_eq!(units_of(5, &twice).unwrap(), Some(5));
        for wrong in ["", "x", "4x", "x3", "4x3x1", "4xmany", "lamp"] {
            assert!(wrong.parse::<Returning>().unwrap_err().contains("12x5"), "{wrong}");
        }
    }
}
