//! Queries, each one statement on a pooled session.

use std::sync::Arc;

use async_trait::async_trait;
use souk_domain::{
    Item, ItemId, Order, OrderId, OrderStatus, Party, PartyId, Recorded, RequestId, Ride, RideId, Sales,
    SalesSummary, Till, TimeRange, Timestamp, Totals, Wish,
};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    chain,
    connection::params,
    convert::{self, AFTER_ITEM, first, get},
    error::Failure,
    pool::Pool,
    rows::{all, at_most},
    statements::{item_columns, order_columns, party_columns},
    summary,
};
use crate::{
    FeedEntry, FeedPosition, ItemQuery, OrderQuery, OrdersOf, Reads, RideQuery, StoreError,
    audit::{AuditRow, Head},
    shares::Shares,
};

pub(super) struct PostgresReads {
    /// For what is found by its key. These queries never wait for a report.
    pool: Arc<Pool>,
    /// For lists and sums, which may read many rows.
    reports: Arc<Pool>,
    shares: Shares,
}

impl PostgresReads {
    pub(super) fn new(pool: Arc<Pool>, reports: Arc<Pool>) -> Self {
        Self { pool, reports, shares: Shares::default() }
    }
}

const PARTY: &str = concat!("SELECT ", party_columns!(), " FROM party WHERE id = $1");
const RAISED_EPOCHS: &str = "SELECT id, epoch FROM party WHERE epoch <> 0";
const PARTIES: &str = concat!(
    "SELECT ",
    party_columns!(),
    " FROM party WHERE ($1::UUID IS NULL OR id > $1) ORDER BY id LIMIT $2"
);
const SUSPENDED: &str = concat!(
    "SELECT ",
    party_columns!(),
    " FROM party WHERE ($1::UUID IS NULL OR id > $1) AND suspended_at IS NOT NULL ORDER BY id LIMIT $2"
);
const AUDIT: &str = "SELECT sequence, hash, line FROM audit JOIN audit_line USING (place) WHERE sequence > $1 \
                     ORDER BY sequence LIMIT $2";
const AUDIT_HEAD: &str = "SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1";
const AUDIT_BASE: &str = "SELECT sequence, hash FROM audit_base";
const ITEMS: &str = concat!(
    "SELECT ",
    item_columns!(),
    " FROM item JOIN party ON party.id = item.seller WHERE item.id = ANY($1)"
);
macro_rules! items_of_seller {
    ($which:literal) => {
        concat!(
            "SELECT ",
            item_columns!(),
            " FROM item JOIN party ON party.id = item.seller WHERE item.seller = $1 AND item.id > $2 \
             AND item.deleted_at ",
            $which,
            " ORDER BY item.id LIMIT $3"
        )
    };
}
const SELLER_ITEMS: &str = items_of_seller!("IS NULL");
const WITHDRAWN_ITEMS: &str = items_of_seller!("IS NOT NULL");
const ORDER: &str = concat!("SELECT ", order_columns!(), " FROM orders WHERE id = $1");
macro_rules! orders_of {
    ($side:literal) => {
        concat!(
            "SELECT ",
            order_columns!(),
            " FROM orders WHERE ",
            $side,
            " = $1 AND id < $2 AND ($3::TEXT IS NULL OR status = $3) AND ($4::BIGINT IS NULL OR item = $4) \
             AND placed_at >= $5 AND placed_at < $6 ORDER BY id DESC LIMIT $7"
        )
    };
}
const ORDERS_OF_BUYER: &str = orders_of!("buyer");
const ORDERS_OF_SELLER: &str = orders_of!("seller");
const RIDE: &str = "SELECT id, body FROM ride WHERE id = $1";
const RIDES: &str = "SELECT id, body FROM ride WHERE seller = $1 AND id >= $2 AND id <= $3 \
                     AND ($4::UUID IS NULL OR id < $4) ORDER BY id DESC LIMIT $5";
const TILLS: &str = "SELECT body FROM till WHERE seller = $1";
const WISHLIST: &str = concat!(
    "SELECT ",
    item_columns!(),
    ", wish.added_at FROM wish JOIN item ON item.id = wish.item JOIN party ON party.id = item.seller \
     WHERE wish.buyer = $1 AND wish.item > $2 AND item.deleted_at IS NULL ORDER BY wish.item LIMIT $3"
);
const FEED: &str = concat!(
    "SELECT ",
    item_columns!(),
    ", item.feed_position FROM item JOIN party ON party.id = item.seller WHERE item.feed_position > $1 \
     AND item.feed_position < (SELECT known FROM place_horizon) ORDER BY item.feed_position LIMIT $2"
);
const FEED_END: &str = "SELECT coalesce(max(feed_position), 0) FROM item";
const REQUEST: &str = "SELECT fingerprint, outcome FROM request WHERE id = $1 AND party = $2";
/// Orders are not counted: the sums of sales have those that stand, present and archived, and the cancelled ones have an
/// index of their own.
pub(super) const TOTALS: &str = "SELECT (SELECT count(*) FROM party), (SELECT count(*) FROM item), \
     (SELECT coalesce(sum(orders), 0)::BIGINT FROM sales) \
     + (SELECT count(*) FROM orders WHERE status = 'cancelled') \
     + (SELECT coalesce(sum(cancelled), 0)::BIGINT FROM archived), \
     (SELECT coalesce(sum(supplied), 0)::BIGINT FROM item), (SELECT coalesce(sum(sold), 0)::BIGINT FROM item), \
     (SELECT coalesce(sum(units), 0)::BIGINT FROM sales), \
     (SELECT coalesce(sum(quantity), 0)::BIGINT FROM item), (SELECT coalesce(sum(withdrawn), 0)::BIGINT FROM item), \
     (SELECT count(*) FROM delivery)";

/// The statements that most calls need, which are checked against the shard plan.
#[cfg(test)]
pub(super) const HOT: &[&str] = &[PARTY, ITEMS, ORDER, SELLER_ITEMS, ORDERS_OF_SELLER, REQUEST, RIDE, TILLS];

/// Converts the first row, if there is one.
fn one<T>(rows: &[Row], read: impl Fn(&Row) -> Result<T, Failure>) -> Result<Option<T>, StoreError> {
    Ok(first(rows, read)?)
}

#[async_trait]
impl Reads for PostgresReads {
    async fn party(&self, id: PartyId) -> Result<Option<Party>, StoreError> {
        one(&self.pool.query(PARTY, || params![id.0]).await?, convert::party)
    }

    async fn raised_epochs(&self) -> Result<Vec<(PartyId, i64)>, StoreError> {
        let rows = self.pool.query(RAISED_EPOCHS, Vec::new).await?;
        all(&rows, |row| Ok((convert::party_id(row, 0)?, get(row, 1)?)))
    }

    async fn parties(
        &self,
        after: Option<PartyId>,
        suspended_only: bool,
        limit: usize,
    ) -> Result<Vec<Party>, StoreError> {
        let sql = if suspended_only { SUSPENDED } else { PARTIES };
        let after: Option<Uuid> = after.map(|after| after.0);
        all(&self.reports.query(sql, || params![after, at_most(limit)]).await?, convert::party)
    }

    async fn audit(&self, after: i64, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        chain::link(&self.pool).await?;
        let rows = self.reports.query(AUDIT, || params![after, at_most(limit)]).await?;
        all(&rows, |row| {
            let Head { sequence, hash } = convert::audit_head(row)?;
            Ok(AuditRow { sequence, line: get(row, 2)?, hash })
        })
    }

    async fn audit_base(&self) -> Result<Head, StoreError> {
        let base = one(&self.pool.query(AUDIT_BASE, Vec::new).await?, convert::audit_head)?;
        Ok(base.unwrap_or(Head::START))
    }

    async fn audit_head(&self) -> Result<Head, StoreError> {
        chain::link(&self.pool).await?;
        let head = one(&self.pool.query(AUDIT_HEAD, Vec::new).await?, convert::audit_head)?;
        Ok(head.unwrap_or(Head::START))
    }

    async fn item(&self, id: ItemId) -> Result<Option<Item>, StoreError> {
        one(&self.pool.query(ITEMS, || params![vec![id.0]]).await?, convert::item)
    }

    async fn items(&self, ids: &[ItemId]) -> Result<Vec<Item>, StoreError> {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        all(&self.pool.query(ITEMS, || params![ids.clone()]).await?, convert::item)
    }

    async fn seller_items(&self, query: &ItemQuery) -> Result<Vec<Item>, StoreError> {
        let ItemQuery { seller, withdrawn, after, limit } = *query;
        let _share = self.shares.enter(seller).await?;
        let sql = if withdrawn { WITHDRAWN_ITEMS } else { SELLER_ITEMS };
        let after = after.map_or(0, |id| id.0);
        let params = || params![seller.0, after, at_most(limit)];
        all(&self.reports.query(sql, params).await?, convert::item)
    }

    async fn order(&self, id: OrderId) -> Result<Option<Order>, StoreError> {
        one(&self.pool.query(ORDER, || params![id.0]).await?, convert::order)
    }

    async fn orders(&self, query: &OrderQuery) -> Result<Vec<Order>, StoreError> {
        let whose = query.of.party();
        let _share = self.shares.enter(whose).await?;
        let sql = match query.of {
            OrdersOf::Buyer(_) => ORDERS_OF_BUYER,
            OrdersOf::Seller(_) => ORDERS_OF_SELLER,
        };
        let before = query.before.map_or(i64::MAX, |id| id.0);
        let status = query.status.map(OrderStatus::as_str);
        let (item, time) = (query.item.map(|id| id.0), query.placed);
        let limit = at_most(query.limit);
        let params = || params![whose.0, before, status, item, time.from.0, time.until.0, limit];
        all(&self.reports.query(sql, params).await?, convert::order)
    }

    async fn ride(&self, id: RideId) -> Result<Option<Ride>, StoreError> {
        one(&self.pool.query(RIDE, || params![id.0]).await?, convert::ride)
    }

    async fn rides(&self, query: &RideQuery) -> Result<Vec<Ride>, StoreError> {
        let RideQuery { seller, from, to, before, limit } = *query;
        let _share = self.shares.enter(seller).await?;
        let before: Option<Uuid> = before.map(|id| id.0);
        let params = || params![seller.0, from.0, to.0, before, at_most(limit)];
        all(&self.reports.query(RIDES, params).await?, convert::ride)
    }

    async fn tills(&self, seller: PartyId) -> Result<Vec<Till>, StoreError> {
        let rows = self.pool.query(TILLS, || params![seller.0]).await?;
        let mut tills: Vec<Till> = all(&rows, |row| convert::json(row, 0))?;
        tills.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(tills)
    }

    async fn sales_summary(
        &self,
        seller: PartyId,
        placed: TimeRange,
        items: usize,
    ) -> Result<SalesSummary, StoreError> {
        let _share = self.shares.enter(seller).await?;
        summary::sales(&self.reports, seller, placed, items).await
    }

    async fn wishlist(
        &self,
        buyer: PartyId,
        after: Option<ItemId>,
        limit: usize,
    ) -> Result<Vec<(Wish, Item)>, StoreError> {
        let _share = self.shares.enter(buyer).await?;
        let after = after.map_or(0, |id| id.0);
        let rows = self.reports.query(WISHLIST, || params![buyer.0, after, at_most(limit)]).await?;
        all(&rows, |row| {
            let item = convert::item(row)?;
            Ok((Wish { buyer, item: item.id, added_at: Timestamp(get(row, AFTER_ITEM)?) }, item))
        })
    }

    async fn item_feed(&self, after: FeedPosition, limit: usize) -> Result<Vec<FeedEntry>, StoreError> {
        // Wait first, so that the caller sees everything that was committed before it asked. The query reads the
        // horizon again in its own snapshot, which is what keeps it free of gaps.
        chain::horizon(&self.pool).await?;
        let rows = self.pool.query(FEED, || params![after.0, at_most(limit)]).await?;
        all(&rows, |row| {
            Ok(FeedEntry { position: convert::position(row, AFTER_ITEM)?, item: convert::item(row)? })
        })
    }

    async fn feed_end(&self) -> Result<FeedPosition, StoreError> {
        // Without waiting for the horizon. A caller that follows up to this position waits when it reads the
        // feed.
        let end = one(&self.pool.query(FEED_END, Vec::new).await?, |row| convert::position(row, 0))?;
        Ok(end.unwrap_or_default())
    }

    async fn request(&self, party: PartyId, id: RequestId) -> Result<Option<Recorded>, StoreError> {
        let rows = self.pool.query(REQUEST, || params![id.0, party.0]).await?;
        one(&rows, |row| convert::recorded(row, 0))
    }

    async fn revenue(&self) -> Result<Vec<Sales>, StoreError> {
        summary::revenue(&self.reports).await
    }

    async fn totals(&self) -> Result<Totals, StoreError> {
        let totals = one(&self.reports.query(TOTALS, Vec::new).await?, |row| {
            Ok(Totals {
                parties: get(row, 0)?,
                items: get(row, 1)?,
                orders: get(row, 2)?,
                supplied: get(row, 3)?,
                sold: get(row, 4)?,
                ordered: get(row, 5)?,
                remaining: get(row, 6)?,
                withdrawn: get(row, 7)?,
                pending_deliveries: get(row, 8)?,
            })
        })?;
        Ok(totals.unwrap_or_default())
    }
}
