//! The daily sweep over all items on sale, which finds out what was sold recently, and so the rank classes that have changed.
//!
//! **Guarantee.** Of all markets on a store, one at a time holds the lease of the sweep, and a day's sweep is finished once. If
//! a market stops half-way, another one continues from there when the lease has expired. The result does not depend on that:
//! the levels follow from the sums of sales, and computing them twice changes nothing.
//!
//! The sweep only reads the items. The market that runs it submits the changes to the ledger
//! ([`Rank`](souk_domain::action::Rank)), so that lanes remain the only writers of items, and a new class moves its item in
//! the feed like any other change.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use souk_domain::{ItemId, PartyId, RankClass, RatingSummary, SalesLevel, Timestamp};
use uuid::Uuid;

use super::{LeaseEpoch, StoreError};

/// The maximum number of items that are read in one step of a sweep.
pub const SWEEP_STEP: usize = 256;

/// The place of a sweep among the items, which are swept by seller and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SweepPlace {
    /// The seller of the last item that was swept.
    pub seller: PartyId,
    /// The last item that was swept.
    pub item: ItemId,
}

impl SweepPlace {
    /// The place before all items.
    pub const START: Self = Self { seller: PartyId(Uuid::nil()), item: ItemId(0) };
}

/// The state of the sweep, which all markets on a store share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepMark {
    /// The day of the sweep that is under way, or of the last one, as the number of days since 1970-01-01 (UTC). `None`
    /// before the first.
    pub day: Option<i64>,
    /// How far the sweep has come.
    pub place: SweepPlace,
    /// The steady time at which the last sweep was finished. `None` while one is under way, and before the first.
    pub finished_at: Option<Timestamp>,
    /// The epoch of the lease.
    pub epoch: LeaseEpoch,
    /// The steady time until which the sweep belongs to the market that claimed it.
    pub lease_until: Timestamp,
}

/// When a market asks for the sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepRequest {
    /// The present day by the wall clock, which also dates the sales.
    pub day: i64,
    /// The steady time.
    pub now: Timestamp,
    /// How long the sweep belongs to the market unless it advances.
    pub lease: Duration,
}

impl Default for SweepMark {
    /// The mark of a store that was never swept.
    fn default() -> Self {
        let (epoch, lease_until) = (LeaseEpoch(0), Timestamp(0));
        Self { day: None, place: SweepPlace::START, finished_at: None, epoch, lease_until }
    }
}

impl SweepMark {
    /// The minimum time between the end of a sweep and the beginning of the next. Markets whose clocks disagree on the day
    /// around midnight would otherwise take turns without end.
    pub const PAUSE: Duration = Duration::from_secs(3_600);

    /// Returns the mark after a market has claimed the sweep. `None` if there is nothing to do, or another market does it.
    ///
    /// Any day but the last one is due, not only a later one: after a clock that was ahead, the right day is earlier.
    #[must_use]
    pub fn claimed(self, request: SweepRequest) -> Option<Self> {
        let SweepRequest { day, now, lease } = request;
        let claimed = Self { lease_until: now.plus(lease), epoch: LeaseEpoch(self.epoch.0 + 1), ..self };
        let begun = Self { day: Some(day), place: SweepPlace::START, finished_at: None, ..claimed };
        match (self.day, self.finished_at) {
            (None, _) => Some(begun),
            // An interrupted sweep is finished for its own day, however late, and the present day's follows.
            (Some(_), None) => (self.lease_until <= now).then_some(claimed),
            (Some(last), Some(finished_at)) => {
                (last != day && finished_at.plus(Self::PAUSE) <= now).then_some(begun)
            }
        }
    }

    /// Records the progress of the lease's holder.
    pub(crate) fn advance(&mut self, progress: SweepProgress) {
        match progress {
            SweepProgress::Through(place, until) => (self.place, self.lease_until) = (place, until),
            SweepProgress::Finished(at) => self.finished_at = Some(at),
        }
    }
}

/// What a market found when it asked for the sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepLook {
    /// The mark.
    pub mark: SweepMark,
    /// Whether the sweep now belongs to the market.
    pub is_claimed: bool,
}

/// How far the holder of the lease has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepProgress {
    /// Everything up to a place is done, and the lease is renewed until a steady time.
    Through(SweepPlace, Timestamp),
    /// All items are done, at this steady time.
    Finished(Timestamp),
}

/// One step of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepStep {
    /// The items whose class is no longer that of their ratings and sales, with the level of these sales.
    pub changed: Vec<(ItemId, SalesLevel)>,
    /// Where the next step begins; `None` after the last one.
    pub next: Option<SweepPlace>,
}

/// What a step reads of an item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ranked {
    pub(crate) place: SweepPlace,
    /// The units in orders that were not cancelled. If there are none, no sum of sales has any.
    pub(crate) sold: i64,
    pub(crate) rating: RatingSummary,
    pub(crate) level: SalesLevel,
    pub(crate) class: RankClass,
}

/// The items of one seller in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SellerItems {
    pub(crate) seller: PartyId,
    pub(crate) first: ItemId,
    pub(crate) last: ItemId,
}

/// Groups the items of a step, which are sorted by seller. Leaves out those of which nothing was ever sold.
pub(crate) fn by_seller(items: &[Ranked]) -> Vec<SellerItems> {
    let mut groups: Vec<SellerItems> = Vec::new();
    for Ranked { place: SweepPlace { seller, item }, .. } in items.iter().filter(|item| item.sold > 0) {
        match groups.last_mut() {
            Some(group) if group.seller == *seller => group.last = *item,
            _ => groups.push(SellerItems { seller: *seller, first: *item, last: *item }),
        }
    }
    groups
}

impl SweepStep {
    /// Compares the items of a step, which reads [`SWEEP_STEP`] of them if there are as many, with the units sold of each.
    pub(crate) fn of(items: &[Ranked], units: &BTreeMap<ItemId, i64>) -> Self {
        let changed = items.iter().filter_map(|item| {
            let level = SalesLevel::of(units.get(&item.place.item).copied().unwrap_or(0));
            // The class is compared, too: a market of an older version rates items without it.
            let is_new = level != item.level || RankClass::of(item.rating, level) != item.class;
            is_new.then_some((item.place.item, level))
        });
        let next = items.last().filter(|_| items.len() == SWEEP_STEP).map(|item| item.place);
        Self { changed: changed.collect(), next }
    }
}

/// The sweep over rank classes.
#[async_trait]
pub trait Ranking: Send + Sync {
    /// Applies [`SweepMark::claimed`] to the store's mark.
    ///
    /// Not synced to the disk, like the progress: what a power loss forgets is swept again.
    async fn claim_sweep(&self, request: SweepRequest) -> Result<SweepLook, StoreError>;

    /// Returns which of the next items after a place have another class by the sales before a day. Reads at most
    /// [`SWEEP_STEP`] items, and holds up no writer.
    async fn sweep(&self, day: i64, after: SweepPlace) -> Result<SweepStep, StoreError>;

    /// Records how far the sweep has come. Returns whether it still belongs to the holder of this epoch; if not, nothing is
    /// recorded.
    async fn advance_sweep(&self, epoch: LeaseEpoch, progress: SweepProgress) -> Result<bool, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);
    const MIDNIGHT: Timestamp = Timestamp(1_000_000_000_000);

    fn request(day: i64, seconds: u64) -> SweepRequest {
        SweepRequest { day, now: MIDNIGHT.plus(Duration::from_secs(seconds)), lease: LEASE }
    }

    fn finished(day: i64, seconds: u64) -> SweepMark {
        let finished_at = Some(MIDNIGHT.plus(Duration::from_secs(seconds)));
        SweepMark { day: Some(day), finished_at, ..SweepMark::default() }
    }

    #[test]
    fn a_day_is_swept_once_and_by_one_market_at_a_time() {
        let begun = SweepMark::default().claimed(request(7, 0)).unwrap();
        assert_eq!((begun.day, begun.epoch, begun.finished_at), (Some(7), LeaseEpoch(1), None));
        assert_eq!(begun.claimed(request(7, 29)), None, "it is under way");
        let resumed = begun.claimed(request(8, 30)).unwrap();
        assert_eq!((resumed.day, resumed.epoch), (Some(7), LeaseEpoch(2)), "the holder has ended");
        assert_eq!(finished(7, 60).claimed(request(7, 10_000)), None, "it is done");
    }

    #[test]
    fn markets_that_disagree_on_the_day_do_not_sweep_without_end() {
        assert_eq!(finished(8, 60).claimed(request(7, 61)), None);
        assert!(finished(8, 60).claimed(request(9, 60 + 3_600)).is_some());
        let corrected = finished(400, 60).claimed(request(7, 60 + 3_600)).unwrap();
        assert_eq!(corrected.day, Some(7), "the clock was a year ahead");
    }

    #[test]
    fn items_are_grouped_by_seller() {
        let item = |seller: u128, item, sold| Ranked {
            place: SweepPlace { seller: PartyId(Uuid::from_u128(seller)), item: ItemId(item) },
            sold,
            rating: RatingSummary::default(),
            level: SalesLevel::default(),
            class: RankClass::default(),
        };
        let items = [item(1, 5, 1), item(1, 7, 0), item(1, 9, 2), item(2, 3, 0), item(3, 4, 1)];
        let group = |seller, first, last| SellerItems {
            seller: PartyId(Uuid::from_u128(seller)),
            first: ItemId(first),
            last: ItemId(last),
        };
        assert_eq!(by_seller(&items), [group(1, 5, 9), group(3, 4, 4)]);
    }
}
