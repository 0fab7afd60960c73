//! Tracks of rides, on the sessions of the mailboxes.

use async_trait::async_trait;
use souk_domain::{Place, RideId, Timestamp};
use tokio_postgres::Row;

use super::{
    connection::params,
    convert::{first, get},
    error::Failure,
    mailboxes::PostgresMailboxes,
    pool::{Pool, with_patience},
    rows::{all, at_most},
};
use crate::{Fix, StoreError, TrackPoint, Tracks};

/// Serialises couriers of one ride at different markets, so that each appends to the other's last point.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1::UUID::TEXT, 0))";
const LAST: &str = "SELECT sequence, latitude, longitude, at, meters FROM track WHERE ride = $1 \
                    ORDER BY sequence DESC LIMIT $2";
const AFTER: &str = "SELECT sequence, latitude, longitude, at, meters FROM track WHERE ride = $1 AND sequence > $2 \
                     ORDER BY sequence LIMIT $3";
const ADD: &str = "INSERT INTO track (ride, sequence, latitude, longitude, at, meters, stored_at) \
     SELECT $1, new.*, $7 FROM unnest($2::BIGINT[], $3::BIGINT[], $4::BIGINT[], $5::BIGINT[], $6::DOUBLE PRECISION[]) AS new";
const FORGET: &str = "DELETE FROM track WHERE (ride, sequence) IN \
     (SELECT ride, sequence FROM track WHERE coalesce(stored_at, at) < $1 ORDER BY coalesce(stored_at, at) LIMIT $2 \
     FOR UPDATE SKIP LOCKED) RETURNING 1";

fn point(row: &Row) -> Result<TrackPoint, Failure> {
    Ok(TrackPoint {
        sequence: get(row, 0)?,
        fix: Fix { place: Place::trusted(get(row, 1)?, get(row, 2)?), at: Timestamp(get(row, 3)?) },
        meters: get(row, 4)?,
    })
}

async fn lengthen(pool: &Pool, ride: RideId, fixes: &[Fix], stored_at: Timestamp) -> Result<(), Failure> {
    // On an error, the seat is dropped with its session. The server then rolls back and releases the lock.
    let mut seat = pool.take().await?;
    seat.batch("BEGIN").await?;
    seat.query(LOCK, params![ride.0]).await?;
    let mut end = first(&seat.query(LAST, params![ride.0, 1_i64]).await?, point)?;
    let mut new = Vec::with_capacity(fixes.len());
    for fix in fixes {
        // Checked under the lock: a retry, or a courier at another market, may have stored these points
        // already.
        if end.is_none_or(|end| fix.at > end.fix.at) {
            let point = TrackPoint::after(end, *fix);
            new.push(point);
            end = Some(point);
        }
    }
    if !new.is_empty() {
        let column = |value: fn(&TrackPoint) -> i64| new.iter().map(value).collect::<Vec<i64>>();
        let added = params![
            ride.0,
            column(|point| point.sequence),
            column(|point| point.fix.place.e7().0),
            column(|point| point.fix.place.e7().1),
            column(|point| point.fix.at.0),
            new.iter().map(|point| point.meters).collect::<Vec<f64>>(),
            stored_at.0,
        ];
        seat.query(ADD, added).await?;
    }
    seat.batch("COMMIT").await?;
    seat.give_back();
    Ok(())
}

#[async_trait]
impl Tracks for PostgresMailboxes {
    async fn lengthen(&self, ride: RideId, fixes: &[Fix], stored_at: Timestamp) -> Result<(), StoreError> {
        let ended: Result<(), StoreError> = with_patience!(lengthen(self.pool(), ride, fixes, stored_at));
        ended?;
        // After the commit: a market that gets the hint reads the points at once.
        self.hints().publish(|hint| {
            hint.rides.insert(ride);
        });
        Ok(())
    }

    async fn last(&self, ride: RideId, count: usize) -> Result<Vec<TrackPoint>, StoreError> {
        let mut points = all(&self.pool().query(LAST, || params![ride.0, at_most(count)]).await?, point)?;
        // The query goes backwards through the index to find the last points; callers want them by time.
        points.reverse();
        Ok(points)
    }

    async fn after(&self, ride: RideId, after: i64, limit: usize) -> Result<Vec<TrackPoint>, StoreError> {
        all(&self.pool().query(AFTER, || params![ride.0, after, at_most(limit)]).await?, point)
    }

    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        Ok(self.pool().query(FORGET, || params![before.0, at_most(limit)]).await?.len())
    }
}
