//! The sweep over rank classes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::{Connection, Error, Row, params};
use souk_domain::{ItemId, RankClass, RatingSummary, SalesLevel};

use super::{
    convert::{blob, optional_time, party_id, time},
    mailboxes::SqliteMailboxes,
    rows::at_most,
};
use crate::{
    LeaseEpoch, Ranking, SWEEP_STEP, StoreError, SweepLook, SweepMark, SweepPlace, SweepProgress,
    SweepRequest, SweepStep,
    ranking::{Ranked, by_seller},
};

/// Along the index of the items on sale.
const ITEMS: &str = "SELECT seller, id, sold, rating_count, rating_stars, sales_level, rank_class FROM item \
     WHERE deleted_at IS NULL AND (seller, id) > (?1, ?2) ORDER BY seller, id LIMIT ?3";

/// Looks up each day by itself, and there only the items that are asked for: a seller can have any number of others. CROSS
/// JOIN keeps SQLite from another order.
const UNITS: &str = "WITH RECURSIVE days (day) AS (VALUES (?2) UNION ALL SELECT day + 1 FROM days WHERE day + 1 < ?3) \
     SELECT item, sum(units) FROM days CROSS JOIN sales ON sales.seller = ?1 AND sales.day = days.day \
     AND sales.item BETWEEN ?4 AND ?5 GROUP BY item";

#[async_trait]
impl Ranking for SqliteMailboxes {
    async fn claim_sweep(&self, request: SweepRequest) -> Result<SweepLook, StoreError> {
        // Usually there is nothing to do: check before taking a turn.
        let mark = self.read(mark_of).await?;
        if mark.claimed(request).is_none() {
            return Ok(SweepLook { mark, is_claimed: false });
        }
        self.write(move |transaction| {
            let before = mark_of(transaction)?;
            let claimed = before.claimed(request);
            if let Some(claimed) = claimed {
                put(transaction, claimed)?;
            }
            Ok(SweepLook { mark: claimed.unwrap_or(before), is_claimed: claimed.is_some() })
        })
        .await
    }

    async fn sweep(&self, day: i64, after: SweepPlace) -> Result<SweepStep, StoreError> {
        self.read(move |connection| step(connection, day, after)).await
    }

    async fn advance_sweep(&self, epoch: LeaseEpoch, progress: SweepProgress) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let mut mark = mark_of(transaction)?;
            let is_held = mark.epoch == epoch;
            if is_held {
                mark.advance(progress);
                put(transaction, mark)?;
            }
            Ok(is_held)
        })
        .await
    }
}

fn mark_of(connection: &Connection) -> Result<SweepMark, Error> {
    let sql = "SELECT day, seller, item, finished_at, lease_epoch, lease_until FROM rank_sweep";
    connection.prepare_cached(sql)?.query_row([], |row| {
        Ok(SweepMark {
            day: row.get(0)?,
            place: SweepPlace { seller: party_id(row, 1)?, item: ItemId(row.get(2)?) },
            finished_at: optional_time(row, 3)?,
            epoch: LeaseEpoch(row.get(4)?),
            lease_until: time(row, 5)?,
        })
    })
}

fn put(connection: &Connection, mark: SweepMark) -> Result<(), Error> {
    let SweepMark { day, place, finished_at, epoch, lease_until } = mark;
    let sql = "UPDATE rank_sweep SET day = ?, seller = ?, item = ?, finished_at = ?, lease_epoch = ?, lease_until = ?";
    let (seller, finished_at) = (blob(place.seller), finished_at.map(|at| at.0));
    let values = params![day, seller, place.item.0, finished_at, epoch.0, lease_until.0];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

fn step(connection: &Connection, day: i64, after: SweepPlace) -> Result<SweepStep, Error> {
    let mut items = connection.prepare_cached(ITEMS)?;
    let values = params![blob(after.seller), after.item.0, at_most(SWEEP_STEP)];
    let items: Vec<Ranked> = items.query_map(values, ranked)?.collect::<Result<_, _>>()?;
    let mut sold = connection.prepare_cached(UNITS)?;
    let days = SalesLevel::days_before(day);
    let mut units = BTreeMap::new();
    for of in by_seller(&items) {
        let values = params![blob(of.seller), days.start, days.end, of.first.0, of.last.0];
        for row in sold.query_map(values, |row| Ok((ItemId(row.get(0)?), row.get(1)?)))? {
            units.extend([row?]);
        }
    }
    Ok(SweepStep::of(&items, &units))
}

fn ranked(row: &Row<'_>) -> Result<Ranked, Error> {
    Ok(Ranked {
        place: SweepPlace { seller: party_id(row, 0)?, item: ItemId(row.get(1)?) },
        sold: row.get(2)?,
        rating: RatingSummary { count: row.get(3)?, total_stars: row.get(4)? },
        level: SalesLevel::stored(row.get(5)?),
        class: RankClass::stored(row.get(6)?),
    })
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::{super::schema, *};
    use crate::OpeningProgress;

    /// A seller can have any number of items, of which a step sums up its own.
    #[test]
    fn step_reads_only_the_sums_of_its_items() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(schema::migrate(&mut connection, &OpeningProgress::default()).is_ok());
        connection
            .execute_batch(
                "WITH RECURSIVE day (number) AS (VALUES (900) UNION ALL SELECT number + 1 FROM day WHERE number < 999),
                 item (number) AS (VALUES (1) UNION ALL SELECT number + 1 FROM item WHERE number < 1000)
                 INSERT INTO sales SELECT x'07', day.number, item.number, 'GBP', 1, 2, 0, 100 FROM day, item",
            )
            .unwrap();
        let mut sold = connection.prepare(UNITS).unwrap();
        let values = params![[7_u8], 910, 1_000, 500, 501];
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let units: Vec<(i64, i64)> = sold.query_map(values, row).unwrap().map(Result::unwrap).collect();
        assert_eq!(units, [(500, 180), (501, 180)]);
        let steps = sold.get_status(StatementStatus::VmStep);
        assert!((90..10_000).contains(&steps), "{steps} steps for 180 of 100,000 sums");
    }
}
