//! Ratings by buyers of an item.

use super::{Decision, Effect, Rules};
use crate::{ItemId, Party, RatingSummary, Refusal, Stars};

impl Rules<'_, '_> {
    /// Rates an item of which the caller has an order that was not cancelled. A second rating is refused
    /// unless `update_existing` allows it to replace the first.
    pub(super) fn rate(
        &mut self,
        caller: &Party,
        id: ItemId,
        stars: Stars,
        update_existing: bool,
    ) -> Result<Decision<RatingSummary>, Refusal> {
        let mut item = self.listed(id)?;
        let key = (caller.id, id);
        // Counted by the store over all orders that were not cancelled; the working set holds only the orders
        // of this batch.
        if self.rows.purchases.get(&key).copied().unwrap_or(0) < 1 {
            return Err(Refusal::NotPurchased(id));
        }
        // Includes a rating that an earlier command of this batch has made.
        let earlier = self.rows.ratings.row(key).copied();
        if let Some(stars) = earlier
            && !update_existing
        {
            return Err(Refusal::AlreadyRated { item: id, stars });
        }
        // The sum is adjusted by the difference, so no rating is ever counted twice and none has to be read
        // again.
        item.rating = item.rating.with(stars, earlier);
        item.version += 1;
        Ok(Decision {
            outcome: item.rating,
            effects: vec![Effect::PutItem(item), Effect::PutRating { buyer: caller.id, item: id, stars }],
        })
    }
}
