//! The rows that a command applies to: ids, ranges of ids, or all rows that meet conditions.

pub(crate) mod condition;
mod confirm;
mod ids;
pub(crate) mod shop;
mod tally;

use clap::Args;
use souk_cli::{
    CliSession, Failure,
    view::{ItemView, OrderView},
};
use souk_proto::v1::{Item, Order};

use condition::Conditions;
pub(crate) use confirm::{can_confirm, confirmed};
pub(crate) use ids::{IdRange, Picked, only_for_one};
pub(crate) use tally::{Tally, each, paced};

/// The orders that a command applies to.
#[derive(Args)]
pub(crate) struct Orders {
    /// The ids, as `sales` shows them: 4, or a range such as 9-12. Ids in a range that are not yours are skipped.
    #[arg(value_name = "ORDER", required_unless_present = "conditions")]
    ids: Vec<IdRange>,
    /// Instead of ids: all orders that meet these conditions, such as "status=placed, item=7". Fields: id, item,
    /// name, buyer, units, total, status, placed; comparisons: = != < <= > >= and ~ (contains).
    #[arg(long = "where", value_name = "CONDITIONS", conflicts_with = "ids")]
    conditions: Option<Conditions<Order>>,
    /// Don't ask for confirmation of the orders that meet the conditions.
    #[arg(long, requires = "conditions")]
    yes: bool,
}

/// The items that a command applies to.
#[derive(Args)]
pub(crate) struct Items {
    /// The ids, as `items` shows them: 4, or a range such as 9-12. Ids in a range that are not yours are skipped.
    #[arg(value_name = "ITEM", required_unless_present = "conditions")]
    ids: Vec<IdRange>,
    /// Instead of ids: all items on sale that meet these conditions, such as "category=home, stock<5". Fields: id,
    /// sku, name, category, price, stock, status, listed, updated; comparisons: = != < <= > >= and ~ (contains).
    #[arg(long = "where", value_name = "CONDITIONS", conflicts_with = "ids")]
    conditions: Option<Conditions<Item>>,
}

impl Orders {
    /// Returns the picked orders; `None` if no order meets the conditions, or the user does not confirm those that do.
    /// `verb` says what is to be done with them, such as "ship".
    ///
    /// # Errors
    /// The orders can't be read, or the user can't be asked.
    pub(crate) async fn picked(
        &self,
        session: &CliSession,
        verb: &str,
    ) -> Result<Option<Vec<Picked>>, Failure> {
        let Some(conditions) = &self.conditions else { return Picked::all(&self.ids).map(Some) };
        let orders = shop::orders(session, conditions).await?;
        if orders.is_empty() {
            session.printer().say("no order meets the conditions");
            return Ok(None);
        }
        let question = format!("{verb} {}", counted(orders.len(), "order"));
        can_confirm(&question, self.yes)?;
        if !self.yes {
            session.printer().list(&orders.iter().map(OrderView::from).collect::<Vec<_>>())?;
        }
        let picked = orders.iter().map(|order| Picked { id: order.order_id, is_of_range: false });
        Ok(confirmed(&question, self.yes).await?.then(|| picked.collect()))
    }
}

impl Items {
    /// Creates it from the arguments of a command that does not flatten it.
    pub(crate) fn new(ids: Vec<IdRange>, conditions: Option<Conditions<Item>>) -> Self {
        Self { ids, conditions }
    }

    /// Returns the picked items; `None` if no item meets the conditions, or the user does not confirm those that do.
    /// Items that were named are not read.
    ///
    /// # Errors
    /// The items can't be read, or the user can't be asked.
    pub(crate) async fn picked(
        &self,
        session: &CliSession,
        verb: &str,
        yes: bool,
    ) -> Result<Option<Vec<Picked>>, Failure> {
        if self.conditions.is_none() {
            return Picked::all(&self.ids).map(Some);
        }
        let items = self.read(session).await?;
        if items.is_empty() {
            return Ok(None);
        }
        let question = format!("{verb} {}", counted(items.len(), "item"));
        can_confirm(&question, yes)?;
        if !yes {
            session.printer().list(&items.iter().map(ItemView::from).collect::<Vec<_>>())?;
        }
        let picked = items.iter().map(|item| Picked { id: item.item_id, is_of_range: false });
        Ok(confirmed(&question, yes).await?.then(|| picked.collect()))
    }

    /// Returns the picked items as they are now.
    ///
    /// # Errors
    /// The items can't be read, or one that was named by itself is not on sale.
    pub(crate) async fn read(&self, session: &CliSession) -> Result<Vec<Item>, Failure> {
        let Some(conditions) = &self.conditions else {
            let mut items = Vec::new();
            for picked in Picked::all(&self.ids)? {
                match paced(async || shop::own_item(session, picked.id).await).await {
                    Ok(item) => items.push(item),
                    Err(failure) if picked.is_of_range && tally::is_not_found(&failure) => {}
                    Err(failure) => return Err(failure),
                }
            }
            if items.is_empty() {
                session.printer().say("none of these items is yours");
            }
            return Ok(items);
        };
        let items = shop::items(session, false, |item| conditions.hold(item)).await?;
        if items.is_empty() {
            session.printer().say("no item meets the conditions");
        }
        Ok(items)
    }
}

/// Returns "this order" or "these 12 orders".
pub(crate) fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("this {noun}"),
        _ => format!("these {count} {noun}s"),
    }
}
