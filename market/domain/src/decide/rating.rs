//! Ratings by buyers of an item.
//!
//! A rating does not outlive the purchase that allowed it: when a buyer cancels its last order of an item, its rating is
//! withdrawn. A seller's cancellation leaves the rating, or sellers could remove bad ones; but without a purchase the
//! buyer can no longer change it. An order that was shipped can't be cancelled, so a rating of something that was
//! received stays.

use super::{Decision, Effect, Rules};
use crate::{ItemId, Order, Party, RatingSummary, Refusal, Stars};

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
        // Counted by the store over all orders that were not cancelled, as far as this batch needs; the working set holds
        // only the orders of this batch.
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
        item.set_rating(item.rating.with(stars, earlier));
        item.version += 1;
        Ok(Decision {
            outcome: item.rating,
            effects: vec![Effect::PutItem(item), Effect::PutRating { buyer: caller.id, item: id, stars }],
        })
    }

    /// Returns the rating that the buyer loses by cancelling an order: that of the item, unless the buyer has another
    /// purchase of it.
    pub(super) fn rating_lost_with(&self, order: &Order) -> Option<Stars> {
        let key = (order.buyer, order.item);
        let purchases = self.rows.purchases.get(&key);
        debug_assert!(
            purchases.is_some(),
            "the store counts the purchases for every cancellation by a buyer"
        );
        // The order that is being cancelled is one of them.
        self.rows.ratings.row(key).copied().filter(|_| purchases.is_some_and(|count| *count <= 1))
    }
}
