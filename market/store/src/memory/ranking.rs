//! The sweep over rank classes. Items are swept by number.

use async_trait::async_trait;
use souk_domain::{ItemId, SalesLevel};

use super::Memory;
use crate::{
    LeaseEpoch, Ranking, SWEEP_STEP, StoreError, SweepLook, SweepPlace, SweepProgress, SweepRequest,
    SweepStep, ranking::Ranked,
};

#[async_trait]
impl Ranking for Memory {
    async fn claim_sweep(&self, request: SweepRequest) -> Result<SweepLook, StoreError> {
        let mut state = self.state();
        let claimed = state.sweep.claimed(request);
        state.sweep = claimed.unwrap_or(state.sweep);
        Ok(SweepLook { mark: state.sweep, is_claimed: claimed.is_some() })
    }

    async fn sweep(&self, day: i64, after: SweepPlace) -> Result<SweepStep, StoreError> {
        let state = self.state();
        let later = state.items.range(ItemId(after.item.0.saturating_add(1))..).map(|(_, item)| item);
        let items: Vec<_> = later
            .filter(|item| item.is_listed())
            .take(SWEEP_STEP)
            .map(|item| Ranked {
                place: SweepPlace { seller: item.seller, item: item.id },
                sold: item.sold,
                rating: item.rating,
                level: item.sales_level,
                class: item.rank_class,
            })
            .collect();
        let days = SalesLevel::days_before(day);
        let units = |item: ItemId| -> i64 {
            state.sold.range((item, days.start)..(item, days.end)).map(|(_, units)| units).sum()
        };
        let units = items.iter().map(|item| (item.place.item, units(item.place.item))).collect();
        Ok(SweepStep::of(&items, &units))
    }

    async fn advance_sweep(&self, epoch: LeaseEpoch, progress: SweepProgress) -> Result<bool, StoreError> {
        let sweep = &mut self.state().sweep;
        let is_held = sweep.epoch == epoch;
        if is_held {
            sweep.advance(progress);
        }
        Ok(is_held)
    }
}
