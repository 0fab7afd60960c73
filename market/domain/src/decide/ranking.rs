//! Ranking: the part of an item's rank class that follows from its sales.

use super::{Decision, Effect, Rules};
use crate::{ItemId, Ranked, SalesLevel};

impl Rules<'_, '_> {
    /// Sets how much of each item was sold recently, and its class accordingly. Leaves out items that are not listed, and
    /// those that have both already. The version stays: a seller's update must not be refused because others bought the
    /// item last month.
    pub(super) fn rank(&self, levels: &[(ItemId, SalesLevel)]) -> Decision<Ranked> {
        let listed = levels.iter().filter_map(|(id, level)| Some((self.rows.items.row(*id)?, *level)));
        let effects: Vec<Effect> = listed
            .filter(|(item, _)| item.is_listed())
            .filter_map(|(before, level)| {
                let mut item = before.clone();
                item.set_sales_level(level);
                (item != *before).then_some(Effect::PutItem(item))
            })
            .collect();
        Decision { outcome: Ranked(i64::try_from(effects.len()).unwrap_or(i64::MAX)), effects }
    }
}
