//! The queries of the market. Pages go by key ("after this id"), never by offset.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use souk_domain::{
    Item, ItemId, Order, OrderId, OrderStatus, Party, PartyId, Recorded, RequestId, Ride, RideId,
    SalesSummary, Till, TimeRange, Totals, Wish,
};

use super::StoreError;
use crate::audit::{AuditRow, Head};

/// A place in the item feed: the series of all changes that a search would notice. 0 is before the
/// first. A reader that has seen everything up to a position has seen every commit before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FeedPosition(pub i64);

/// An item as it is now, at the place of its latest change in the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEntry {
    /// Its place.
    pub position: FeedPosition,
    /// The item; deleted ones are in the feed too.
    pub item: Item,
}

/// Which side of a trade asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrdersOf {
    /// What a buyer bought.
    Buyer(PartyId),
    /// What was bought of a seller's items.
    Seller(PartyId),
}

/// Asks for orders, latest first.
#[derive(Clone, Copy, Debug)]
pub struct OrderQuery {
    /// Whose orders.
    pub of: OrdersOf,
    /// Only of this item.
    pub item: Option<ItemId>,
    /// Only with this status.
    pub status: Option<OrderStatus>,
    /// Only placed in this time.
    pub placed: TimeRange,
    /// Only orders with a smaller number.
    pub before: Option<OrderId>,
    /// How many at most.
    pub limit: usize,
}

/// The queries. None waits for a writer; each sees everything that was committed before it began.
#[async_trait]
pub trait Reads: Send + Sync {
    /// A party.
    async fn party(&self, id: PartyId) -> Result<Option<Party>, StoreError>;

    /// All parties whose epoch is not 0, with it: those whose older tokens are void.
    async fn raised_epochs(&self) -> Result<Vec<(PartyId, i64)>, StoreError>;

    /// Parties by UUID, starting after `after`.
    async fn parties(
        &self,
        after: Option<PartyId>,
        suspended_only: bool,
        limit: usize,
    ) -> Result<Vec<Party>, StoreError>;

    /// Entries of the audit log by number, starting after `after`.
    async fn audit(&self, after: i64, limit: usize) -> Result<Vec<AuditRow>, StoreError>;

    /// The end of the audit log.
    async fn audit_head(&self) -> Result<Head, StoreError>;

    /// An item, deleted or not.
    async fn item(&self, id: ItemId) -> Result<Option<Item>, StoreError>;

    /// Those of the items that exist, deleted or not, in any order.
    async fn items(&self, ids: &[ItemId]) -> Result<Vec<Item>, StoreError>;

    /// A seller's listed items by number, starting after `after`.
    async fn seller_items(
        &self,
        seller: PartyId,
        after: Option<ItemId>,
        limit: usize,
    ) -> Result<Vec<Item>, StoreError>;

    /// An order.
    async fn order(&self, id: OrderId) -> Result<Option<Order>, StoreError>;

    /// Orders of a buyer or of a seller's items, latest first.
    async fn orders(&self, query: &OrderQuery) -> Result<Vec<Order>, StoreError>;

    /// A ride.
    async fn ride(&self, id: RideId) -> Result<Option<Ride>, StoreError>;

    /// A seller's tills by name; [`Till::MAX_OF_SELLER`] at the most.
    async fn tills(&self, seller: PartyId) -> Result<Vec<Till>, StoreError>;

    /// What a seller took in a time; at most so many items.
    async fn sales_summary(
        &self,
        seller: PartyId,
        placed: TimeRange,
        items: usize,
    ) -> Result<SalesSummary, StoreError>;

    /// A buyer's wishes for listed items by item number, starting after `after`.
    async fn wishlist(
        &self,
        buyer: PartyId,
        after: Option<ItemId>,
        limit: usize,
    ) -> Result<Vec<(Wish, Item)>, StoreError>;

    /// The items whose latest searchable change lies after a position, in feed order.
    async fn item_feed(&self, after: FeedPosition, limit: usize) -> Result<Vec<FeedEntry>, StoreError>;

    /// The position of the latest searchable change.
    async fn feed_end(&self) -> Result<FeedPosition, StoreError>;

    /// What came of a request that was carried out and is still remembered.
    async fn request(&self, party: PartyId, id: RequestId) -> Result<Option<Recorded>, StoreError>;

    /// Sums over everything.
    async fn totals(&self) -> Result<Totals, StoreError>;
}
