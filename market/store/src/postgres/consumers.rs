//! The named consumers of mailboxes, on the sessions of the mailboxes.
//!
//! Whatever changes a consumer does so under its mailbox's row lock, as everything that removes deliveries does.

use async_trait::async_trait;
use souk_domain::{ConsumerName, PartyId, Sequence, Timestamp};
use tokio_postgres::Row;

use super::{
    connection::params,
    convert::{first, get, unreadable},
    error::Failure,
    mailboxes::PostgresMailboxes,
    pool::{Pool, with_patience},
    rows::{all, at_most},
    settle,
};
use crate::{
    ConsumerOpening, ConsumerRemoval, ConsumerState, ConsumerStream, Consumers, LeaseEpoch, MAX_CONSUMERS,
    MAX_COUNTED, StoreError, consumer::unnamed_since, mailbox::REMOVAL_STEP,
};

const MAILBOX: &str = "SELECT last_sequence, acknowledged, callback_port IS NOT NULL OR stream_until > $2 \
     FROM mailbox WHERE party = $1 FOR NO KEY UPDATE";
const NAMES: &str = "SELECT name FROM consumer WHERE party = $1 ORDER BY name";
/// Takes a name. A lease that has not run out is taken over only by its own client.
const TAKE: &str = "INSERT INTO consumer (party, name, seen_at, holder, lease_epoch, lease_until) \
     VALUES ($1, $2, $4, $3, next_epoch(0), $4) \
     ON CONFLICT (party, name) DO UPDATE SET seen_at = excluded.seen_at, holder = excluded.holder, \
     lease_epoch = next_epoch(consumer.lease_epoch), lease_until = excluded.lease_until \
     WHERE consumer.lease_until <= $5 OR consumer.holder = excluded.holder RETURNING lease_epoch, acknowledged";
const RENEW: &str = "UPDATE consumer SET lease_until = $4, seen_at = $4 \
     WHERE party = $1 AND name = $2 AND lease_epoch = $3 RETURNING 1";
const RELEASE: &str =
    "UPDATE consumer SET lease_until = 0 WHERE party = $1 AND name = $2 AND lease_epoch = $3";
const MOVE: &str = "UPDATE consumer SET acknowledged = greatest(acknowledged, $3), seen_at = greatest(seen_at, $4) \
     WHERE party = $1 AND name = $2 RETURNING acknowledged";
/// Releases what every consumer has, for removal, and records that what this one has received must not be merged any
/// more. `$2` is the cursor of the unnamed consumer, NULL if it does not count.
const RELEASE_RECEIVED: &str = "UPDATE mailbox SET handed_out = greatest(handed_out, $3), \
     released = greatest(released, least($2::BIGINT, \
     (SELECT min(consumer.acknowledged) FROM consumer WHERE consumer.party = mailbox.party))) WHERE mailbox.party = $1";
const COUNT: &str = "SELECT count(*) FROM (SELECT 1 FROM delivery WHERE recipient = $1 AND sequence > $2 LIMIT $3) AS waiting";
const STATES: &str = "SELECT name, acknowledged, seen_at, lease_until, (SELECT count(*) FROM (SELECT 1 FROM delivery \
     WHERE delivery.recipient = consumer.party AND delivery.sequence > consumer.acknowledged LIMIT $2) AS waiting) \
     FROM consumer WHERE consumer.party = $1 ORDER BY name";
const REMOVE: &str = "DELETE FROM consumer WHERE party = $1 AND name = $2 AND lease_until <= $3 RETURNING 1";
const DROP: &str = "DELETE FROM consumer WHERE (party, name) IN \
     (SELECT party, name FROM consumer WHERE seen_at < $1 ORDER BY seen_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1";

/// The statements that name a mailbox, which are checked against the shard plan and for scans.
#[cfg(test)]
pub(super) const HOT: &[&str] =
    &[MAILBOX, NAMES, TAKE, RENEW, RELEASE, MOVE, RELEASE_RECEIVED, COUNT, REMOVE, STATES];

/// The statements over all mailboxes, whose plans are checked for scans.
#[cfg(test)]
pub(super) const PLANNED: &[&str] = &[DROP];

#[async_trait]
impl Consumers for PostgresMailboxes {
    async fn open_consumer(
        &self,
        stream: &ConsumerStream,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<ConsumerOpening, StoreError> {
        with_patience!(open(self.pool(), stream, now, until))
    }

    async fn renew_consumer(
        &self,
        stream: &ConsumerStream,
        epoch: LeaseEpoch,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let params = || params![stream.recipient.0, stream.name.to_string(), epoch.0, until.0];
        Ok(!self.pool().query(RENEW, params).await?.is_empty())
    }

    async fn release_consumer(&self, stream: &ConsumerStream, epoch: LeaseEpoch) -> Result<(), StoreError> {
        let params = || params![stream.recipient.0, stream.name.to_string(), epoch.0];
        self.pool().query(RELEASE, params).await?;
        Ok(())
    }

    async fn acknowledge_consumer(
        &self,
        recipient: PartyId,
        name: &ConsumerName,
        through: Sequence,
        now: Timestamp,
    ) -> Result<Option<i64>, StoreError> {
        with_patience!(acknowledge(self.pool(), recipient, name, through, now))
    }

    async fn remove_consumer(
        &self,
        recipient: PartyId,
        name: &ConsumerName,
        now: Timestamp,
    ) -> Result<ConsumerRemoval, StoreError> {
        with_patience!(remove(self.pool(), recipient, name, now))
    }

    async fn consumers(&self, recipient: PartyId) -> Result<Vec<ConsumerState>, StoreError> {
        let rows = self.pool().query(STATES, || params![recipient.0, at_most(MAX_COUNTED)]).await?;
        all(&rows, |row| {
            Ok(ConsumerState {
                name: name(row)?,
                acknowledged: get(row, 1)?,
                seen_at: Timestamp(get(row, 2)?),
                lease_until: Timestamp(get(row, 3)?),
                pending: get(row, 4)?,
            })
        })
    }

    async fn drop_consumers(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        Ok(self.pool().query(DROP, || params![before.0, at_most(limit)]).await?.len())
    }
}

/// Opens a name. Its commit waits for the disk and the standby, because it may create the name.
async fn open(
    pool: &Pool,
    stream: &ConsumerStream,
    now: Timestamp,
    until: Timestamp,
) -> Result<ConsumerOpening, Failure> {
    let mut seat = pool.take().await?;
    // The session may carry the warning of an earlier user.
    seat.forget_warnings();
    seat.batch("BEGIN; SET LOCAL synchronous_commit = on").await?;
    let mailbox = seat.query(MAILBOX, params![stream.recipient.0, now.0]).await?;
    let last_sequence = first(&mailbox, |row| Ok(Sequence(get(row, 0)?)))?;
    let opening = match last_sequence {
        None => ConsumerOpening::NoMailbox,
        Some(last_sequence) => {
            let rows = seat.query(NAMES, params![stream.recipient.0]).await?;
            let names = rows.iter().map(name).collect::<Result<Vec<_>, _>>()?;
            // One place is the unnamed consumer's.
            if !names.contains(&stream.name) && names.len() + 1 >= MAX_CONSUMERS {
                ConsumerOpening::Full(names)
            } else {
                let name = stream.name.to_string();
                let take = params![stream.recipient.0, name, stream.holder, until.0, now.0];
                let held = |row: &Row| {
                    let (epoch, acknowledged) = (LeaseEpoch(get(row, 0)?), Sequence(get(row, 1)?));
                    Ok(ConsumerOpening::Held { epoch, acknowledged, last_sequence })
                };
                first(&seat.query(TAKE, take).await?, held)?
                    .unwrap_or(ConsumerOpening::Guest { last_sequence })
            }
        }
    };
    seat.batch("COMMIT").await?;
    if seat.was_warned() {
        // As in a lane, the commit may be on the primary only.
        return Err(Failure::NoConnection(
            "PostgreSQL warned while it committed: the standby may not have it".into(),
        ));
    }
    seat.give_back();
    Ok(opening)
}

async fn acknowledge(
    pool: &Pool,
    recipient: PartyId,
    name: &ConsumerName,
    through: Sequence,
    now: Timestamp,
) -> Result<Option<i64>, Failure> {
    let mut seat = pool.take().await?;
    seat.batch("BEGIN").await?;
    let since = unnamed_since(now);
    let mailbox = seat.query(MAILBOX, params![recipient.0, since.0]).await?;
    let mailbox =
        first(&mailbox, |row| Ok((get::<i64>(row, 0)?, get::<i64>(row, 1)?, get::<bool>(row, 2)?)))?;
    let mut pending = None;
    if let Some((last, unnamed, unnamed_counts)) = mailbox {
        // A cursor from before the store was restored from an older backup.
        let through = if through.0 > last { 0 } else { through.0 };
        let moved = seat.query(MOVE, params![recipient.0, name.to_string(), through, now.0]).await?;
        if let Some(cursor) = first(&moved, |row| get::<i64>(row, 0))? {
            let unnamed = unnamed_counts.then_some(unnamed);
            seat.query(RELEASE_RECEIVED, params![recipient.0, unnamed, cursor]).await?;
            seat.query(settle::REMOVE_SOME, params![vec![recipient.0], REMOVAL_STEP]).await?;
            let count = seat.query(COUNT, params![recipient.0, cursor, at_most(MAX_COUNTED)]).await?;
            pending = first(&count, |row| get(row, 0))?;
        }
    }
    seat.batch("COMMIT").await?;
    seat.give_back();
    Ok(pending)
}

async fn remove(
    pool: &Pool,
    recipient: PartyId,
    name: &ConsumerName,
    now: Timestamp,
) -> Result<ConsumerRemoval, Failure> {
    let mut seat = pool.take().await?;
    seat.batch("BEGIN").await?;
    let mailbox = seat.query(MAILBOX, params![recipient.0, unnamed_since(now).0]).await?;
    let unnamed = first(&mailbox, |row| Ok(get::<bool>(row, 2)?.then_some(get::<i64>(row, 1)?)))?;
    let removed = seat.query(REMOVE, params![recipient.0, name.to_string(), now.0]).await?;
    let removal = if removed.is_empty() {
        let names = seat.query(NAMES, params![recipient.0]).await?;
        let names = names.iter().map(self::name).collect::<Result<Vec<_>, _>>()?;
        if names.contains(name) { ConsumerRemoval::Connected } else { ConsumerRemoval::Unknown }
    } else {
        seat.query(RELEASE_RECEIVED, params![recipient.0, unnamed.flatten(), 0_i64]).await?;
        seat.query(settle::REMOVE_SOME, params![vec![recipient.0], REMOVAL_STEP]).await?;
        ConsumerRemoval::Removed
    };
    seat.batch("COMMIT").await?;
    seat.give_back();
    Ok(removal)
}

fn name(row: &Row) -> Result<ConsumerName, Failure> {
    ConsumerName::parse(get(row, 0)?).map_err(unreadable)
}
