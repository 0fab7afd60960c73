//! Pruning of archived orders.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::{Connection, Error, OptionalExtension as _, params};
use souk_domain::{OrderId, Timestamp};

use super::{
    audit,
    convert::{self, ORDER, ORDER_PARTIES},
    mailboxes::SqliteMailboxes,
    placed, purchases, requests,
    rows::at_most,
    upkeep,
};
use crate::{Archive, DueOrders, ORDERS_STEP, PrunedBy, StoreError, archive::PrunedOrders};

/// Selects the orders below the number `?2` that ended before the time `?1` and are on no ride under way.
const DUE: &str = "orders.id < ?2 AND status IN ('delivered', 'cancelled') AND coalesce(cancelled_at, delivered_at) < ?1 \
    AND (ride IS NULL OR EXISTS (SELECT 1 FROM ride WHERE ride.id = orders.ride \
    AND json_extract(ride.body, '$.ended_at') IS NOT NULL))";

#[async_trait]
impl Archive for SqliteMailboxes {
    async fn due_orders(&self, before: Timestamp, after: OrderId) -> Result<DueOrders, StoreError> {
        self.read(move |connection| due_orders(connection, before, after)).await
    }

    async fn prune_orders(
        &self,
        orders: &[OrderId],
        before: Timestamp,
        by: &PrunedBy,
    ) -> Result<usize, StoreError> {
        let (orders, by) = (orders.to_vec(), by.clone());
        // Outside of the writers' turn: references to an order are written with it, and after that only removed.
        let horizon = self.read(move |connection| horizon(connection, before)).await?;
        self.write_durably(move |transaction| prune_orders(transaction, &orders, horizon, &by)).await
    }

    async fn prune_audit(&self, through: i64, by: &PrunedBy) -> Result<usize, StoreError> {
        let by = by.clone();
        self.write_durably(move |transaction| {
            let Some((first, base)) = upkeep::prune(transaction, through)? else { return Ok(0) };
            audit::append(transaction, &[by.audit(first, base)])?;
            Ok(usize::try_from(base.sequence - first + 1).unwrap_or(usize::MAX))
        })
        .await
    }
}

/// The bounds below which an order is due.
#[derive(Clone, Copy)]
struct Horizon {
    /// When it must have ended: before the given time, and before the oldest undelivered order event or stored outcome.
    /// These may be about any order that ended since.
    ended: i64,
    /// Its number: below all that deliveries and stored outcomes refer to. Times do not suffice, because theirs are not by
    /// the wall clock.
    number: i64,
}

fn horizon(connection: &Connection, before: Timestamp) -> Result<Horizon, Error> {
    let sql = "SELECT min(?1, coalesce((SELECT min(occurred_at) FROM delivery WHERE is_order = 1), ?1))";
    let undelivered = connection.prepare_cached(sql)?.query_row([before.0], |row| row.get(0))?;
    let (done_at, first_order) = requests::oldest(connection)?
        .map_or((i64::MAX, i64::MAX), |oldest| (oldest.done_at, oldest.first_order));
    let number = placed::first_order(connection)?.map_or(first_order, |first| first.min(first_order));
    Ok(Horizon { ended: done_at.min(undelivered), number })
}

fn due_orders(connection: &Connection, before: Timestamp, after: OrderId) -> Result<DueOrders, Error> {
    let horizon = horizon(connection, before)?;
    // A bounded number of orders is looked at, whether or not any of them is due: a long query would keep the WAL from
    // being truncated.
    let window = at_most(ORDERS_STEP);
    let due = format!(
        "SELECT {ORDER} FROM (SELECT * FROM orders WHERE id > ?3 ORDER BY id LIMIT ?4) AS orders {ORDER_PARTIES} \
         WHERE {DUE} ORDER BY orders.id"
    );
    let orders = connection
        .prepare_cached(&due)?
        .query_map(params![horizon.ended, horizon.number, after.0, window], convert::order)?
        .collect::<Result<_, _>>()?;
    let seen = "SELECT count(*), max(id) FROM (SELECT id FROM orders WHERE id > ? ORDER BY id LIMIT ?)";
    let (count, last): (i64, Option<i64>) = connection
        .prepare_cached(seen)?
        .query_row(params![after.0, window], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(DueOrders { orders, next: last.filter(|_| count == window).map(OrderId) })
}

/// The orders of one item that a step prunes.
#[derive(Default)]
struct OfItem {
    orders: i64,
    units: i64,
    cancelled: i64,
}

fn prune_orders(
    transaction: &Connection,
    orders: &[OrderId],
    horizon: Horizon,
    by: &PrunedBy,
) -> Result<usize, Error> {
    let delete = format!(
        "DELETE FROM orders WHERE {DUE} AND id = ?3 RETURNING buyer, item, status = 'cancelled', quantity"
    );
    let mut delete = transaction.prepare_cached(&delete)?;
    let mut bought = transaction.prepare_cached(
        "INSERT INTO bought (buyer, item) SELECT party.id, item.id FROM party, item \
         WHERE party.number = ?1 AND item.id = ?2 AND (deleted_at IS NULL \
         OR EXISTS (SELECT 1 FROM rating WHERE rating.buyer = party.id AND rating.item = item.id)) \
         ON CONFLICT DO NOTHING",
    )?;
    let mut items = BTreeMap::<i64, OfItem>::new();
    let mut pruned = PrunedOrders::default();
    for id in orders {
        let row: Option<(i64, i64, bool, i64)> = delete
            .query_row(params![horizon.ended, horizon.number, id.0], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()?;
        let Some((buyer, item, is_cancelled, units)) = row else { continue };
        let sums = items.entry(item).or_default();
        if is_cancelled {
            sums.cancelled += 1;
        } else {
            sums.orders += 1;
            sums.units += units;
            purchases::take_out(transaction, buyer, item, id.0)?;
            // A withdrawn item can't be rated, so its purchases are not kept, even if it is put back on sale later. But a
            // rating that it has must stay when the buyer cancels another order.
            bought.execute([buyer, item])?;
        }
        pruned.first = if pruned.count == 0 { id.0 } else { pruned.first.min(id.0) };
        pruned.last = pruned.last.max(id.0);
        pruned.count += 1;
    }
    if pruned.count > 0 {
        keep_sums(transaction, &items)?;
        audit::append(transaction, &[by.orders(pruned)])?;
    }
    Ok(usize::try_from(pruned.count).unwrap_or(usize::MAX))
}

fn keep_sums(transaction: &Connection, items: &BTreeMap<i64, OfItem>) -> Result<(), Error> {
    let mut add = transaction.prepare_cached(
        "INSERT INTO archived (item, orders, units, cancelled) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (item) DO UPDATE \
         SET orders = orders + ?2, units = units + ?3, cancelled = cancelled + ?4",
    )?;
    for (item, OfItem { orders, units, cancelled }) in items {
        add.execute(params![item, orders, units, cancelled])?;
    }
    Ok(())
}
