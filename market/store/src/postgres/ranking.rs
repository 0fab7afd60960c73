//! The sweep over rank classes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use souk_domain::{ItemId, RankClass, RatingSummary, SalesLevel, Timestamp};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    connection::params,
    convert::{self, first, get, unreadable},
    error::Failure,
    mailboxes::PostgresMailboxes,
    pool::{Pool, with_patience},
    rows::{all, at_most},
};
use crate::{
    LeaseEpoch, Ranking, SWEEP_STEP, StoreError, SweepLook, SweepMark, SweepPlace, SweepProgress,
    SweepRequest, SweepStep,
    ranking::{Ranked, SellerItems, by_seller},
};

const MARK: &str = "SELECT day, seller, item, finished_at, lease_epoch, lease_until FROM rank_sweep";
/// Markets take turns, so that one of them gets the lease.
const LOCK: &str =
    "SELECT day, seller, item, finished_at, lease_epoch, lease_until FROM rank_sweep FOR UPDATE";
/// The epoch exceeds every earlier one, even if the server lost the last one in a restart: a claim is not flushed.
const CLAIM: &str = "UPDATE rank_sweep SET day = $1, seller = $2, item = $3, finished_at = $4, lease_until = $5, \
     lease_epoch = next_epoch(lease_epoch) RETURNING lease_epoch";
const ADVANCE: &str =
    "UPDATE rank_sweep SET seller = $2, item = $3, lease_until = $4 WHERE lease_epoch = $1 RETURNING 1";
const FINISH: &str = "UPDATE rank_sweep SET finished_at = $2 WHERE lease_epoch = $1 RETURNING 1";

/// Along the index of the items on sale.
const ITEMS: &str = "SELECT seller, id, sold, rating_count, rating_stars, sales_level, rank_class FROM item \
     WHERE deleted_at IS NULL AND (seller, id) > ($1, $2) ORDER BY seller, id LIMIT $3";

/// Looks up each day by itself, and there only the items that are asked for: a seller can have any number of others. OFFSET 0
/// changes no result, but keeps the planner from joining the whole table.
const UNITS: &str = "SELECT sold.item, sum(sold.units)::BIGINT \
     FROM unnest($1::UUID[], $2::BIGINT[], $3::BIGINT[]) AS named (seller, first, last) \
     CROSS JOIN generate_series($4::BIGINT, $5::BIGINT) AS days (day) \
     CROSS JOIN LATERAL (SELECT item, units FROM sales WHERE sales.seller = named.seller AND sales.day = days.day \
     AND sales.item BETWEEN named.first AND named.last OFFSET 0) AS sold GROUP BY sold.item";

/// Statements that must not read whole tables.
#[cfg(test)]
pub(super) const PLANNED: &[&str] = &[ITEMS, UNITS];

#[async_trait]
impl Ranking for PostgresMailboxes {
    async fn claim_sweep(&self, request: SweepRequest) -> Result<SweepLook, StoreError> {
        // Usually there is nothing to do: look before locking.
        let rows = self.pool().query(MARK, Vec::new).await?;
        let mark = first(&rows, mark)?.unwrap_or_default();
        if mark.claimed(request).is_none() {
            return Ok(SweepLook { mark, is_claimed: false });
        }
        with_patience!(claim(self.pool(), request))
    }

    async fn sweep(&self, day: i64, after: SweepPlace) -> Result<SweepStep, StoreError> {
        let limit = at_most(SWEEP_STEP);
        let rows = self.pool().query(ITEMS, || params![after.seller.0, after.item.0, limit]).await?;
        let items = all(&rows, ranked)?;
        let sellers = by_seller(&items);
        let units =
            if sellers.is_empty() { BTreeMap::new() } else { units(self.pool(), &sellers, day).await? };
        Ok(SweepStep::of(&items, &units))
    }

    async fn advance_sweep(&self, epoch: LeaseEpoch, progress: SweepProgress) -> Result<bool, StoreError> {
        let rows = match progress {
            SweepProgress::Through(SweepPlace { seller, item }, until) => {
                self.pool().query(ADVANCE, || params![epoch.0, seller.0, item.0, until.0]).await?
            }
            SweepProgress::Finished(at) => self.pool().query(FINISH, || params![epoch.0, at.0]).await?,
        };
        Ok(!rows.is_empty())
    }
}

fn mark(row: &Row) -> Result<SweepMark, Failure> {
    Ok(SweepMark {
        day: get(row, 0)?,
        place: SweepPlace { seller: convert::party_id(row, 1)?, item: ItemId(get(row, 2)?) },
        finished_at: convert::optional_time(row, 3)?,
        epoch: LeaseEpoch(get(row, 4)?),
        lease_until: Timestamp(get(row, 5)?),
    })
}

async fn claim(pool: &Pool, request: SweepRequest) -> Result<SweepLook, Failure> {
    let mut seat = pool.take().await?;
    seat.batch("BEGIN").await?;
    let before = first(&seat.query(LOCK, Vec::new()).await?, mark)?.unwrap_or_default();
    let look = match before.claimed(request) {
        None => SweepLook { mark: before, is_claimed: false },
        Some(claimed) => {
            let SweepMark { day, place: SweepPlace { seller, item }, finished_at, lease_until, .. } = claimed;
            let finished_at = finished_at.map(|at| at.0);
            let values = params![day, seller.0, item.0, finished_at, lease_until.0];
            let epoch = first(&seat.query(CLAIM, values).await?, |row| get(row, 0))?;
            let epoch = epoch.map(LeaseEpoch).ok_or_else(|| unreadable("the row of the sweep is missing"))?;
            SweepLook { mark: SweepMark { epoch, ..claimed }, is_claimed: true }
        }
    };
    seat.batch("COMMIT").await?;
    seat.give_back();
    Ok(look)
}

/// Returns the units that were sold of some sellers' items.
async fn units(pool: &Pool, sellers: &[SellerItems], day: i64) -> Result<BTreeMap<ItemId, i64>, StoreError> {
    let days = SalesLevel::days_before(day);
    let column = |value: fn(&SellerItems) -> i64| sellers.iter().map(value).collect::<Vec<_>>();
    let values = || {
        let named: Vec<Uuid> = sellers.iter().map(|of| of.seller.0).collect();
        params![named, column(|of| of.first.0), column(|of| of.last.0), days.start, days.end - 1]
    };
    let rows = pool.query(UNITS, values).await?;
    Ok(all(&rows, |row| Ok((ItemId(get(row, 0)?), get(row, 1)?)))?.into_iter().collect())
}

fn ranked(row: &Row) -> Result<Ranked, Failure> {
    Ok(Ranked {
        place: SweepPlace { seller: convert::party_id(row, 0)?, item: ItemId(get(row, 1)?) },
        sold: get(row, 2)?,
        rating: RatingSummary { count: get(row, 3)?, total_stars: get(row, 4)? },
        level: SalesLevel::stored(convert::small(row, 5)?),
        class: RankClass::stored(convert::small(row, 6)?),
    })
}
