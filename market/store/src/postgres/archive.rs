//! Pruning of archived orders and audit entries.
//!
//! A pruning transaction waits for the disk and the standby, unlike others on these sessions: it adds to the audit log,
//! whose head an operator may note at once. Two of them at a time are kept apart by an advisory lock.

use async_trait::async_trait;
use souk_domain::{AuditEntry, OrderId, Timestamp};
use tokio_postgres::Row;

use super::{
    chain,
    connection::params,
    convert::{self, first, get},
    error::Failure,
    mailboxes::PostgresMailboxes,
    pool::{Pool, Seat, with_patience},
    rows::{all, at_most},
    statements::{self, order_columns},
};
use crate::{
    AUDIT_STEP, Archive, DueOrders, ORDERS_STEP, PrunedBy, StoreError,
    archive::PrunedOrders,
    audit::{self, Head},
};

/// The time before which an order must have ended to be due: the given one, or that of the oldest undelivered order
/// event or stored outcome. These may be about any order that ended since.
const HORIZON: &str = "SELECT least($1::BIGINT, (SELECT min(done_at) FROM request), \
     (SELECT min(occurred_at) FROM delivery WHERE is_order))";

/// Selects the orders that ended before the parameter `$1` and are on no ride under way.
macro_rules! due {
    () => {
        "status IN ('delivered', 'cancelled') AND coalesce(cancelled_at, delivered_at) < $1 \
         AND (orders.ride IS NULL OR EXISTS (SELECT 1 FROM ride WHERE ride.id = orders.ride \
         AND ride.body::JSON ->> 'ended_at' IS NOT NULL))"
    };
}

/// Looks at a bounded number of orders, whether or not any of them is due.
const DUE: &str = concat!(
    "SELECT ",
    order_columns!(),
    " FROM (SELECT * FROM orders WHERE id > $2 ORDER BY id LIMIT $3) AS orders WHERE ",
    due!(),
    " ORDER BY id"
);
const SEEN: &str =
    "SELECT count(*), max(id) FROM (SELECT id FROM orders WHERE id > $1 ORDER BY id LIMIT $2) AS seen";

const LOCK: &str = "SELECT pg_advisory_xact_lock(1936682347, 5)";

/// Deletes orders and keeps what is needed of them. A withdrawn item can't be rated, so its purchases are not kept, even if
/// it is put back on sale later. But a rating that it has must stay when the buyer cancels another order.
const PRUNE_ORDERS: &str = concat!(
    "WITH gone AS (DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE ",
    due!(),
    " AND id = ANY($2) ORDER BY id FOR UPDATE) RETURNING id, buyer, item, quantity, status <> 'cancelled' AS stands), \
     rateable AS (INSERT INTO bought (buyer, item) SELECT DISTINCT gone.buyer, gone.item FROM gone \
     JOIN item ON item.id = gone.item WHERE gone.stands AND (item.deleted_at IS NULL \
     OR EXISTS (SELECT 1 FROM rating WHERE rating.buyer = gone.buyer AND rating.item = gone.item)) \
     ORDER BY 1, 2 ON CONFLICT DO NOTHING), \
     summed AS (INSERT INTO archived AS kept (item, orders, units, cancelled) \
     SELECT item, count(*) FILTER (WHERE stands), coalesce(sum(quantity) FILTER (WHERE stands), 0)::BIGINT, \
     count(*) FILTER (WHERE NOT stands) FROM gone GROUP BY item ORDER BY item \
     ON CONFLICT (item) DO UPDATE SET orders = kept.orders + excluded.orders, units = kept.units + excluded.units, \
     cancelled = kept.cancelled + excluded.cancelled) \
     SELECT count(*), coalesce(min(id), 0), coalesce(max(id), 0) FROM gone"
);

/// Selects the oldest entries to prune; never the newest, which the next one is chained to.
const OLDEST_ENTRIES: &str = "SELECT sequence, hash FROM audit WHERE sequence <= $1 \
     AND sequence < (SELECT max(sequence) FROM audit) ORDER BY sequence LIMIT $2";
const PRUNE_LINES: &str =
    "DELETE FROM audit_line USING audit WHERE audit_line.place = audit.place AND audit.sequence <= $1";
const PRUNE_LINKS: &str = "DELETE FROM audit WHERE sequence <= $1";
const PUT_BASE: &str = "INSERT INTO audit_base (sequence, hash) VALUES ($1, $2) \
     ON CONFLICT (is_only) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash";

#[async_trait]
impl Archive for PostgresMailboxes {
    async fn due_orders(&self, before: Timestamp, after: OrderId) -> Result<DueOrders, StoreError> {
        let horizon = horizon(&self.pool().query(HORIZON, || params![before.0]).await?, before)?;
        let window = at_most(ORDERS_STEP);
        let due = self.pool().query(DUE, || params![horizon, after.0, window]).await?;
        // A number that a slow batch commits between the two queries is that of a new order, which is not due.
        let seen = self.pool().query(SEEN, || params![after.0, window]).await?;
        let seen: Option<(i64, Option<i64>)> = first(&seen, |row| Ok((get(row, 0)?, get(row, 1)?)))?;
        let (count, last) = seen.unwrap_or_default();
        let next = last.filter(|_| count == window).map(OrderId);
        Ok(DueOrders { orders: all(&due, convert::order)?, next })
    }

    async fn prune_orders(
        &self,
        orders: &[OrderId],
        before: Timestamp,
        by: &PrunedBy,
    ) -> Result<usize, StoreError> {
        with_patience!(prune_orders(self.pool(), orders, before, by))
    }

    async fn prune_audit(&self, through: i64, by: &PrunedBy) -> Result<usize, StoreError> {
        // What is not chained yet is newer than what is pruned, and must be chained before its predecessors go.
        chain::link(self.pool()).await?;
        with_patience!(prune_audit(self.pool(), through, by))
    }
}

fn horizon(rows: &[Row], before: Timestamp) -> Result<i64, Failure> {
    Ok(first(rows, |row| get(row, 0))?.unwrap_or(before.0))
}

/// Begins a durable transaction. Dropping the seat before [`commit`] closes the session, and the server rolls back.
async fn begin(pool: &Pool) -> Result<Seat<'_>, Failure> {
    let mut seat = pool.take().await?;
    seat.forget_warnings();
    seat.batch("BEGIN; SET LOCAL synchronous_commit = on").await?;
    seat.query(LOCK, Vec::new()).await?;
    Ok(seat)
}

/// Adds the entry about what was done, and commits.
async fn commit(mut seat: Seat<'_>, entry: Option<&AuditEntry>) -> Result<(), Failure> {
    if let Some(entry) = entry {
        seat.query(statements::ADD_AUDIT_LINES, params![vec![audit::line(entry)]]).await?;
    }
    seat.batch("COMMIT").await?;
    if seat.was_warned() {
        return Err(Failure::NoConnection(
            "PostgreSQL warned while it committed: the standby may not have it".into(),
        ));
    }
    seat.give_back();
    Ok(())
}

async fn prune_orders(
    pool: &Pool,
    orders: &[OrderId],
    before: Timestamp,
    by: &PrunedBy,
) -> Result<usize, Failure> {
    let mut seat = begin(pool).await?;
    let horizon = horizon(&seat.query(HORIZON, params![before.0]).await?, before)?;
    let ids: Vec<i64> = orders.iter().map(|id| id.0).collect();
    let gone = seat.query(PRUNE_ORDERS, params![horizon, ids]).await?;
    let gone = first(&gone, |row| {
        Ok::<_, Failure>(PrunedOrders { count: get(row, 0)?, first: get(row, 1)?, last: get(row, 2)? })
    })?;
    let gone = gone.unwrap_or_default();
    let entry = (gone.count > 0).then(|| by.orders(gone));
    commit(seat, entry.as_ref()).await?;
    Ok(usize::try_from(gone.count).unwrap_or(usize::MAX))
}

async fn prune_audit(pool: &Pool, through: i64, by: &PrunedBy) -> Result<usize, Failure> {
    let mut seat = begin(pool).await?;
    let rows = seat.query(OLDEST_ENTRIES, params![through, at_most(AUDIT_STEP)]).await?;
    let entries: Vec<Head> = rows.iter().map(convert::audit_head).collect::<Result<_, _>>()?;
    let (Some(oldest), Some(base)) = (entries.first(), entries.last()) else {
        commit(seat, None).await?;
        return Ok(0);
    };
    // Lines before links, because they are found through them.
    seat.query(PRUNE_LINES, params![base.sequence]).await?;
    seat.query(PRUNE_LINKS, params![base.sequence]).await?;
    seat.query(PUT_BASE, params![base.sequence, base.hash.0.to_vec()]).await?;
    commit(seat, Some(&by.audit(oldest.sequence, *base))).await?;
    Ok(entries.len())
}
