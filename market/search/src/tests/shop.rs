//! A fake store that contains only items and their feed.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Mutex, MutexGuard},
};

use async_trait::async_trait;
use souk_domain::{
    Category, Description, DisplayName, Item, ItemId, ItemName, Money, Order, OrderId, Party, PartyId,
    RankClass, RatingSummary, Recorded, RequestId, Ride, RideId, Sales, SalesLevel, SalesSummary, Till,
    TimeRange, Timestamp, Totals, Wish,
};
use souk_store::{
    FeedEntry, FeedPosition, ItemQuery, OrderQuery, Reads, RideQuery, StoreError,
    audit::{AuditRow, Head},
};
use uuid::Uuid;

/// The fake store. Every change moves the feed by one position.
#[derive(Default)]
pub(crate) struct Shop {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    items: HashMap<ItemId, (FeedPosition, Item)>,
    feed: BTreeMap<FeedPosition, ItemId>,
    last: FeedPosition,
    is_down: bool,
    feed_reads: usize,
    item_reads: usize,
}

impl Shop {
    pub(crate) fn put(&self, item: Item) -> FeedPosition {
        let mut state = self.lock();
        state.last.0 += 1;
        let position = state.last;
        state.feed.insert(position, item.id);
        if let Some((former, _)) = state.items.insert(item.id, (position, item)) {
            state.feed.remove(&former);
        }
        position
    }

    /// Changes an item without a feed entry.
    pub(super) fn change_unnoticed(&self, number: i64, change: impl FnOnce(&mut Item)) {
        change(&mut self.lock().items.get_mut(&ItemId(number)).unwrap().1);
    }

    /// Returns the item as it would be after a change.
    pub(super) fn changed(&self, number: i64, change: impl FnOnce(&mut Item)) -> Item {
        let mut item = self.lock().items[&ItemId(number)].1.clone();
        change(&mut item);
        item
    }

    pub(super) fn position(&self) -> FeedPosition {
        self.lock().last
    }

    /// Loses the latest changes, like a database whose lagging standby has taken over.
    pub(super) fn set_back(&self, to: FeedPosition) {
        let mut state = self.lock();
        state.last = to;
        state.feed.retain(|position, _| *position <= to);
        state.items.retain(|_, (position, _)| *position <= to);
    }

    /// Returns how many pages of the feed were asked for.
    pub(crate) fn feed_reads(&self) -> usize {
        self.lock().feed_reads
    }

    /// Returns how many queries for items there were.
    pub(crate) fn item_reads(&self) -> usize {
        self.lock().item_reads
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.lock().is_down = is_down;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn up(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.lock();
        if state.is_down { Err(StoreError::unavailable("it is down")) } else { Ok(state) }
    }
}

/// Creates a plain item, as a base for variations.
pub(crate) fn item(number: i64, name: &str) -> Item {
    Item {
        id: ItemId(number),
        seller: PartyId(Uuid::from_u128(9)),
        seller_name: DisplayName::trusted("Shop".to_owned()),
        sku: None,
        name: ItemName::trusted(name.to_owned()),
        description: Description::trusted(String::new()),
        category: Category::trusted("home".to_owned()),
        unit_price: Money::price(100, "GBP").unwrap(),
        quantity: 1,
        supplied: 1,
        sold: 0,
        withdrawn: 0,
        rating: RatingSummary::default(),
        sales_level: SalesLevel::default(),
        rank_class: RankClass::default(),
        version: 1,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
        deleted_at: None,
    }
}

#[async_trait]
impl Reads for Shop {
    async fn audit(&self, _: i64, _: usize) -> Result<Vec<AuditRow>, StoreError> {
        Ok(Vec::new())
    }

    async fn audit_base(&self) -> Result<Head, StoreError> {
        Ok(Head::START)
    }

    async fn audit_head(&self) -> Result<Head, StoreError> {
        Ok(Head::START)
    }

    async fn items(&self, ids: &[ItemId]) -> Result<Vec<Item>, StoreError> {
        let mut state = self.up()?;
        state.item_reads += 1;
        // In another order than requested, which the trait allows.
        Ok(ids.iter().rev().filter_map(|id| state.items.get(id)).map(|(_, item)| item.clone()).collect())
    }

    async fn item_feed(&self, after: FeedPosition, limit: usize) -> Result<Vec<FeedEntry>, StoreError> {
        let mut state = self.up()?;
        state.feed_reads += 1;
        let entries = state.feed.range((Bound::Excluded(after), Bound::Unbounded)).take(limit);
        Ok(entries
            .map(|(position, id)| FeedEntry { position: *position, item: state.items[id].1.clone() })
            .collect())
    }

    async fn party(&self, _: PartyId) -> Result<Option<Party>, StoreError> {
        Ok(None)
    }

    async fn parties(&self, _: Option<PartyId>, _: bool, _: usize) -> Result<Vec<Party>, StoreError> {
        Ok(Vec::new())
    }

    async fn raised_epochs(&self) -> Result<Vec<(PartyId, i64)>, StoreError> {
        Ok(Vec::new())
    }

    async fn item(&self, id: ItemId) -> Result<Option<Item>, StoreError> {
        Ok(self.items(&[id]).await?.pop())
    }

    async fn seller_items(&self, _: &ItemQuery) -> Result<Vec<Item>, StoreError> {
        Ok(Vec::new())
    }

    async fn rides(&self, _: &RideQuery) -> Result<Vec<Ride>, StoreError> {
        Ok(Vec::new())
    }

    async fn order(&self, _: OrderId) -> Result<Option<Order>, StoreError> {
        Ok(None)
    }

    async fn orders(&self, _: &OrderQuery) -> Result<Vec<Order>, StoreError> {
        Ok(Vec::new())
    }

    async fn ride(&self, _: RideId) -> Result<Option<Ride>, StoreError> {
        Ok(None)
    }

    async fn tills(&self, _: PartyId) -> Result<Vec<Till>, StoreError> {
        Ok(Vec::new())
    }

    async fn sales_summary(&self, _: PartyId, _: TimeRange, _: usize) -> Result<SalesSummary, StoreError> {
        Ok(SalesSummary::default())
    }

    async fn wishlist(
        &self,
        _: PartyId,
        _: Option<ItemId>,
        _: usize,
    ) -> Result<Vec<(Wish, Item)>, StoreError> {
        Ok(Vec::new())
    }

    async fn feed_end(&self) -> Result<FeedPosition, StoreError> {
        Ok(self.position())
    }

    async fn request(&self, _: PartyId, _: RequestId) -> Result<Option<Recorded>, StoreError> {
        Ok(None)
    }

    async fn revenue(&self) -> Result<Vec<Sales>, StoreError> {
        unreachable!("a search asks for no revenue")
    }

    async fn totals(&self) -> Result<Totals, StoreError> {
        Ok(Totals::default())
    }
}
