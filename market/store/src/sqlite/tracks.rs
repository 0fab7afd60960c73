//! Tracks of rides, on the writer of the mailboxes.

use async_trait::async_trait;
use rusqlite::{Connection, Error, OptionalExtension as _, Row, params};
use souk_domain::{Place, RideId, Timestamp};

use super::{mailboxes::SqliteMailboxes, rows::at_most};
use crate::{Fix, StoreError, TrackPoint, Tracks};

const POINT: &str = "sequence, latitude, longitude, at, meters";

fn point(row: &Row<'_>) -> Result<TrackPoint, Error> {
    Ok(TrackPoint {
        sequence: row.get(0)?,
        fix: Fix { place: Place::trusted(row.get(1)?, row.get(2)?), at: Timestamp(row.get(3)?) },
        meters: row.get(4)?,
    })
}

fn last(connection: &Connection, ride: RideId) -> Result<Option<TrackPoint>, Error> {
    let sql = format!("SELECT {POINT} FROM track WHERE ride = ? ORDER BY sequence DESC LIMIT 1");
    connection.prepare_cached(&sql)?.query_row([ride.0.into_bytes()], point).optional()
}

#[async_trait]
impl Tracks for SqliteMailboxes {
    async fn lengthen(&self, ride: RideId, fixes: &[Fix], stored_at: Timestamp) -> Result<(), StoreError> {
        let fixes = fixes.to_vec();
        self.write(move |transaction| {
            let mut end = last(transaction, ride)?;
            let mut put = transaction.prepare_cached(
                "INSERT INTO track (ride, sequence, latitude, longitude, at, meters, stored_at) \
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )?;
            for fix in fixes {
                if end.is_some_and(|end| fix.at <= end.fix.at) {
                    continue;
                }
                let point = TrackPoint::after(end, fix);
                let (latitude, longitude) = fix.place.e7();
                let id = ride.0.into_bytes();
                let (at, meters) = (fix.at.0, point.meters);
                put.execute(params![id, point.sequence, latitude, longitude, at, meters, stored_at.0])?;
                end = Some(point);
            }
            Ok(())
        })
        .await
    }

    async fn last(&self, ride: RideId, count: usize) -> Result<Vec<TrackPoint>, StoreError> {
        let sql = format!("SELECT {POINT} FROM track WHERE ride = ? ORDER BY sequence DESC LIMIT ?");
        let mut points: Vec<_> = self
            .read(move |connection| {
                let mut found = connection.prepare_cached(&sql)?;
                found.query_map(params![ride.0.into_bytes(), at_most(count)], point)?.collect()
            })
            .await?;
        points.reverse();
        Ok(points)
    }

    async fn after(&self, ride: RideId, after: i64, limit: usize) -> Result<Vec<TrackPoint>, StoreError> {
        let sql =
            format!("SELECT {POINT} FROM track WHERE ride = ? AND sequence > ? ORDER BY sequence LIMIT ?");
        self.read(move |connection| {
            let mut found = connection.prepare_cached(&sql)?;
            found.query_map(params![ride.0.into_bytes(), after, at_most(limit)], point)?.collect()
        })
        .await
    }

    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let sql = "DELETE FROM track WHERE (ride, sequence) IN \
                   (SELECT ride, sequence FROM track WHERE coalesce(stored_at, at) < ? \
                   ORDER BY coalesce(stored_at, at) LIMIT ?)";
        self.write(move |transaction| {
            transaction.prepare_cached(sql)?.execute(params![before.0, at_most(limit)])
        })
        .await
    }
}
