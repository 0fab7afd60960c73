//! Queries, on pooled read-only connections.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, Error, OptionalExtension as _, Params, Row, params};
use souk_domain::{
    Item, ItemId, Order, OrderId, OrderStatus, Party, PartyId, Recorded, RequestId, Ride, RideId, Sales,
    SalesSummary, Till, TimeRange, Timestamp, Totals, Wish,
};

use super::{
    audit,
    convert::{
        self, ITEM, ITEM_BY_ID, ORDER, ORDER_BY_ID, ORDER_PARTIES, PARTY, PARTY_BY_ID, PARTY_NUMBER, blob,
    },
    load,
    mailboxes::SqliteMailboxes,
    pool::Pool,
    requests,
    rows::at_most,
    summary,
};
use crate::{
    FeedEntry, FeedPosition, ItemQuery, OrderQuery, OrdersOf, Reads, RideQuery, StoreError,
    audit::{AuditRow, Head},
    shares::Shares,
};

pub(super) struct SqliteReads {
    /// For what is found by its key. These queries take microseconds, and never wait for a report.
    points: Pool,
    /// For lists and sums, which may read many rows.
    reports: Pool,
    shares: Shares,
    /// Dropped after the pool: only a connection that can write copies the log into the file when it is the last one
    /// to close.
    _writer: Option<Arc<SqliteMailboxes>>,
}

impl SqliteReads {
    /// Creates the queries of an open store, or with `None` those beside it.
    pub(super) fn new(points: Pool, reports: Pool, writer: Option<Arc<SqliteMailboxes>>) -> Self {
        Self { points, reports, shares: Shares::default(), _writer: writer }
    }
}

fn one<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    convert: impl Fn(&Row<'_>) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    connection.prepare_cached(sql)?.query_row(params, convert).optional()
}

fn many<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    convert: impl Fn(&Row<'_>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    connection.prepare_cached(sql)?.query_map(params, convert)?.collect()
}

#[async_trait]
impl Reads for SqliteReads {
    async fn party(&self, id: PartyId) -> Result<Option<Party>, StoreError> {
        self.points.run(move |c| one(c, &PARTY_BY_ID, [blob(id)], convert::party)).await
    }

    async fn raised_epochs(&self) -> Result<Vec<(PartyId, i64)>, StoreError> {
        let sql = "SELECT id, epoch FROM party WHERE epoch <> 0";
        self.points.run(move |c| many(c, sql, [], |row| Ok((convert::party_id(row, 0)?, row.get(1)?)))).await
    }

    async fn parties(
        &self,
        after: Option<PartyId>,
        suspended_only: bool,
        limit: usize,
    ) -> Result<Vec<Party>, StoreError> {
        let filter = if suspended_only { "AND suspended_at IS NOT NULL" } else { "" };
        let sql = format!("SELECT {PARTY} FROM party WHERE id > ? {filter} ORDER BY id LIMIT ?");
        // The empty blob sorts before every UUID.
        let after = after.map(|after| blob(after).to_vec()).unwrap_or_default();
        self.reports.run(move |c| many(c, &sql, params![after, at_most(limit)], convert::party)).await
    }

    async fn audit(&self, after: i64, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        self.reports.run(move |c| audit::entries(c, after, limit)).await
    }

    async fn audit_base(&self) -> Result<Head, StoreError> {
        self.points.run(|c| audit::base(c)).await
    }

    async fn audit_head(&self) -> Result<Head, StoreError> {
        let sql = "SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1";
        let head = self.points.run(move |c| one(c, sql, [], convert::audit_head)).await?;
        Ok(head.unwrap_or(Head::START))
    }

    async fn item(&self, id: ItemId) -> Result<Option<Item>, StoreError> {
        self.points.run(move |c| one(c, &ITEM_BY_ID, [id.0], convert::item)).await
    }

    async fn items(&self, ids: &[ItemId]) -> Result<Vec<Item>, StoreError> {
        let ids = ids.to_vec();
        self.points
            .run(move |c| {
                ids.iter().filter_map(|id| one(c, &ITEM_BY_ID, [id.0], convert::item).transpose()).collect()
            })
            .await
    }

    async fn seller_items(&self, query: &ItemQuery) -> Result<Vec<Item>, StoreError> {
        let ItemQuery { seller, withdrawn, after, limit } = *query;
        let _share = self.shares.enter(seller).await?;
        let which = if withdrawn { "IS NOT NULL" } else { "IS NULL" };
        let sql = format!(
            "SELECT {ITEM} FROM item JOIN party ON party.id = item.seller WHERE seller = ? AND item.id > ? \
             AND deleted_at {which} ORDER BY item.id LIMIT ?"
        );
        let after = after.map_or(0, |id| id.0);
        self.reports
            .run(move |c| many(c, &sql, params![blob(seller), after, at_most(limit)], convert::item))
            .await
    }

    async fn order(&self, id: OrderId) -> Result<Option<Order>, StoreError> {
        self.points.run(move |c| one(c, &ORDER_BY_ID, [id.0], convert::order)).await
    }

    async fn orders(&self, query: &OrderQuery) -> Result<Vec<Order>, StoreError> {
        let query = *query;
        let whose = query.of.party();
        let _share = self.shares.enter(whose).await?;
        let side = match query.of {
            OrdersOf::Buyer(_) => "buyer",
            OrdersOf::Seller(_) => "seller",
        };
        let sql = format!(
            "SELECT {ORDER} FROM orders {ORDER_PARTIES} WHERE orders.{side} = {PARTY_NUMBER} AND orders.id < ?2 \
             AND (?3 IS NULL OR status = ?3) AND (?4 IS NULL OR item = ?4) AND placed_at >= ?5 AND placed_at < ?6 \
             ORDER BY orders.id DESC LIMIT ?7"
        );
        self.reports
            .run(move |c| {
                let before = query.before.map_or(i64::MAX, |id| id.0);
                let status = query.status.map(OrderStatus::as_str);
                let (item, time) = (query.item.map(|id| id.0), query.placed);
                let limit = at_most(query.limit);
                let params = params![blob(whose), before, status, item, time.from.0, time.until.0, limit];
                many(c, &sql, params, convert::order)
            })
            .await
    }

    async fn ride(&self, id: RideId) -> Result<Option<Ride>, StoreError> {
        self.points.run(move |c| load::ride(c, id)).await
    }

    async fn rides(&self, query: &RideQuery) -> Result<Vec<Ride>, StoreError> {
        let RideQuery { seller, from, to, before, limit } = *query;
        let _share = self.shares.enter(seller).await?;
        let sql = "SELECT body FROM ride WHERE seller = ?1 AND id >= ?2 AND id <= ?3 AND (?4 IS NULL OR id < ?4) \
                   ORDER BY id DESC LIMIT ?5";
        self.reports
            .run(move |c| {
                let bytes = |id: RideId| id.0.into_bytes();
                let params = params![blob(seller), bytes(from), bytes(to), before.map(bytes), at_most(limit)];
                many(c, sql, params, convert::body)
            })
            .await
    }

    async fn tills(&self, seller: PartyId) -> Result<Vec<Till>, StoreError> {
        let sql = "SELECT body FROM till WHERE seller = ?";
        let mut tills: Vec<Till> =
            self.points.run(move |c| many(c, sql, [blob(seller)], convert::body)).await?;
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
        self.reports.run(move |c| summary::sales(c, seller, placed, items)).await
    }

    async fn wishlist(
        &self,
        buyer: PartyId,
        after: Option<ItemId>,
        limit: usize,
    ) -> Result<Vec<(Wish, Item)>, StoreError> {
        let _share = self.shares.enter(buyer).await?;
        let sql = format!(
            "SELECT {ITEM}, added_at FROM wish JOIN item ON item.id = wish.item JOIN party ON party.id = item.seller \
             WHERE wish.buyer = ? AND wish.item > ? AND deleted_at IS NULL ORDER BY wish.item LIMIT ?"
        );
        let after = after.map_or(0, |id| id.0);
        self.reports
            .run(move |c| {
                many(c, &sql, params![blob(buyer), after, at_most(limit)], |row| {
                    let item = convert::item(row)?;
                    let added_at = Timestamp(row.get("added_at")?);
                    Ok((Wish { buyer, item: item.id, added_at }, item))
                })
            })
            .await
    }

    async fn item_feed(&self, after: FeedPosition, limit: usize) -> Result<Vec<FeedEntry>, StoreError> {
        let sql = format!(
            "SELECT {ITEM}, feed_position FROM item JOIN party ON party.id = item.seller WHERE feed_position > ? \
             ORDER BY feed_position LIMIT ?"
        );
        self.points
            .run(move |c| {
                many(c, &sql, params![after.0, at_most(limit)], |row| {
                    let position = FeedPosition(row.get("feed_position")?);
                    Ok(FeedEntry { position, item: convert::item(row)? })
                })
            })
            .await
    }

    async fn feed_end(&self) -> Result<FeedPosition, StoreError> {
        let sql = "SELECT value FROM counter WHERE name = 'feed'";
        let end = self.points.run(move |c| one(c, sql, [], |row| row.get(0))).await?;
        Ok(FeedPosition(end.unwrap_or(0)))
    }

    async fn request(&self, party: PartyId, id: RequestId) -> Result<Option<Recorded>, StoreError> {
        self.points.run(move |c| requests::request(c, party, id)).await
    }

    async fn totals(&self) -> Result<Totals, StoreError> {
        self.reports.run(|c| summary::totals(c)).await
    }

    async fn revenue(&self) -> Result<Vec<Sales>, StoreError> {
        self.reports.run(|c| summary::revenue(c)).await
    }
}
