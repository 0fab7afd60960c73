//! The queries of the market. Pagination is by keyset ("after this id"), never by offset, so that a page
//! costs the same wherever it lies and concurrent inserts don't shift it.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use souk_domain::{
    Item, ItemId, Order, OrderId, OrderStatus, Party, PartyId, Recorded, RequestId, Ride, RideId, Sales,
    SalesSummary, Till, TimeRange, Totals, Wish,
};

use super::StoreError;
use crate::audit::{AuditRow, Head};

/// A position in the item feed, the sequence of all changes that affect search. 0 is before the first.
///
/// A reader that has seen everything up to a position has seen every commit before it: nothing is ever
/// inserted behind a position that a reader could have reached. Positions increase but are not consecutive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FeedPosition(pub i64);

/// The current state of an item, at the position of its latest change in the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEntry {
    /// The position of the item's latest change.
    pub position: FeedPosition,
    /// The item. Deleted items are in the feed too, so that readers can remove them.
    pub item: Item,
}

/// The side of a trade whose orders are queried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrdersOf {
    /// The purchases of this buyer.
    Buyer(PartyId),
    /// The sales of this seller.
    Seller(PartyId),
}

impl OrdersOf {
    /// Returns the party whose orders are queried.
    pub fn party(self) -> PartyId {
        match self {
            Self::Buyer(party) | Self::Seller(party) => party,
        }
    }
}

/// A query for orders, latest first.
#[derive(Clone, Copy, Debug)]
pub struct OrderQuery {
    /// The buyer or seller whose orders are queried.
    pub of: OrdersOf,
    /// Only orders of this item.
    pub item: Option<ItemId>,
    /// Only orders with this status.
    pub status: Option<OrderStatus>,
    /// Only orders placed in this range.
    pub placed: TimeRange,
    /// Only orders with a smaller number: the keyset cursor.
    pub before: Option<OrderId>,
    /// The maximum number of orders to return.
    pub limit: usize,
}

/// A query for a seller's items, in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemQuery {
    /// The seller.
    pub seller: PartyId,
    /// Return the items that the seller has withdrawn instead of those on sale.
    pub withdrawn: bool,
    /// Only items with a larger number: the keyset cursor.
    pub after: Option<ItemId>,
    /// The maximum number of items to return.
    pub limit: usize,
}

/// A query for a seller's rides, latest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RideQuery {
    /// The seller.
    pub seller: PartyId,
    /// The smallest id.
    pub from: RideId,
    /// The largest id.
    pub to: RideId,
    /// Only rides with a smaller id: the keyset cursor.
    pub before: Option<RideId>,
    /// The maximum number of rides to return.
    pub limit: usize,
}

/// The queries. None waits for a writer, and each sees everything that was committed before it began.
#[async_trait]
pub trait Reads: Send + Sync {
    /// Returns a party; `None` if it has not registered.
    async fn party(&self, id: PartyId) -> Result<Option<Party>, StoreError>;

    /// Returns all parties whose token epoch is not 0, with it. A market loads them at its start to refuse
    /// old tokens.
    async fn raised_epochs(&self) -> Result<Vec<(PartyId, i64)>, StoreError>;

    /// Returns parties in the order of their ids, starting after `after`.
    async fn parties(
        &self,
        after: Option<PartyId>,
        suspended_only: bool,
        limit: usize,
    ) -> Result<Vec<Party>, StoreError>;

    /// Returns entries of the audit log in order, starting after number `after`.
    async fn audit(&self, after: i64, limit: usize) -> Result<Vec<AuditRow>, StoreError>;

    /// Returns the last entry of the audit log that was archived and pruned, on which the log's first entry follows.
    /// [`Head::START`] if the log is complete.
    async fn audit_base(&self) -> Result<Head, StoreError>;

    /// Returns the end of the audit log.
    async fn audit_head(&self) -> Result<Head, StoreError>;

    /// Returns an item, including a deleted one.
    async fn item(&self, id: ItemId) -> Result<Option<Item>, StoreError>;

    /// Returns those of the items that exist, including deleted ones, in any order.
    async fn items(&self, ids: &[ItemId]) -> Result<Vec<Item>, StoreError>;

    /// Returns a seller's items, either those on sale or those that were withdrawn.
    async fn seller_items(&self, query: &ItemQuery) -> Result<Vec<Item>, StoreError>;

    /// Returns an order. The caller must check that it may be shown.
    async fn order(&self, id: OrderId) -> Result<Option<Order>, StoreError>;

    /// Returns orders of a buyer or a seller, latest first.
    async fn orders(&self, query: &OrderQuery) -> Result<Vec<Order>, StoreError>;

    /// Returns a ride. The caller must check that it may be shown.
    async fn ride(&self, id: RideId) -> Result<Option<Ride>, StoreError>;

    /// Returns a seller's rides with the largest ids first: the latest, since ids grow with time.
    async fn rides(&self, query: &RideQuery) -> Result<Vec<Ride>, StoreError>;

    /// Returns a seller's tills ordered by name; at most [`Till::MAX_OF_SELLER`].
    async fn tills(&self, seller: PartyId) -> Result<Vec<Till>, StoreError>;

    /// Returns a seller's sales in a time range, with at most `items` items.
    async fn sales_summary(
        &self,
        seller: PartyId,
        placed: TimeRange,
        items: usize,
    ) -> Result<SalesSummary, StoreError>;

    /// Returns a buyer's wishes for listed items in the order of item numbers, starting after `after`.
    async fn wishlist(
        &self,
        buyer: PartyId,
        after: Option<ItemId>,
        limit: usize,
    ) -> Result<Vec<(Wish, Item)>, StoreError>;

    /// Returns the items whose latest change that affects search is after a position, in feed order.
    async fn item_feed(&self, after: FeedPosition, limit: usize) -> Result<Vec<FeedEntry>, StoreError>;

    /// Returns the position of the latest change that affects search.
    async fn feed_end(&self) -> Result<FeedPosition, StoreError>;

    /// Returns the stored outcome of a request; `None` if it was not carried out or its record has been
    /// deleted.
    async fn request(&self, party: PartyId, id: RequestId) -> Result<Option<Recorded>, StoreError>;

    /// Returns totals over the whole store.
    async fn totals(&self) -> Result<Totals, StoreError>;

    /// Returns the sales of the whole store by currency, in the order of the codes.
    async fn revenue(&self) -> Result<Vec<Sales>, StoreError>;
}
