//! The named consumers of mailboxes, on the writer of the mailboxes.

use async_trait::async_trait;
use rusqlite::{Connection, Error, OptionalExtension as _, Row, params};
use souk_domain::{ConsumerName, PartyId, Sequence, Timestamp};

use super::{
    convert::{blob, unreadable},
    mailboxes::SqliteMailboxes,
    rows::at_most,
    settle,
};
use crate::{
    ConsumerOpening, ConsumerRemoval, ConsumerState, ConsumerStream, Consumers, LeaseEpoch, MAX_CONSUMERS,
    MAX_COUNTED, StoreError, consumer::unnamed_since, mailbox::REMOVAL_STEP,
};

#[async_trait]
impl Consumers for SqliteMailboxes {
    async fn open_consumer(
        &self,
        stream: &ConsumerStream,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<ConsumerOpening, StoreError> {
        let (own, stream) = (stream.clone(), stream.clone());
        let is_known = self.read(move |connection| exists(connection, own.recipient, &own.name)).await?;
        let open = move |transaction: &Connection| open(transaction, &stream, now, until);
        // Only the creation of a name needs the disk, and that is rare.
        if is_known { self.write(open).await } else { self.write_durably(open).await }
    }

    async fn renew_consumer(
        &self,
        stream: &ConsumerStream,
        epoch: LeaseEpoch,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        // The epoch is the fence: it grows with each stream that opens the name.
        let sql = "UPDATE consumer SET lease_until = ?4, seen_at = ?4 \
                   WHERE party = ?1 AND name = ?2 AND lease_epoch = ?3";
        let stream = stream.clone();
        self.write(move |transaction| {
            let params = params![blob(stream.recipient), stream.name.as_str(), epoch.0, until.0];
            Ok(transaction.prepare_cached(sql)?.execute(params)? > 0)
        })
        .await
    }

    async fn release_consumer(&self, stream: &ConsumerStream, epoch: LeaseEpoch) -> Result<(), StoreError> {
        let sql = "UPDATE consumer SET lease_until = 0 WHERE party = ? AND name = ? AND lease_epoch = ?";
        let stream = stream.clone();
        self.write(move |transaction| {
            let params = params![blob(stream.recipient), stream.name.as_str(), epoch.0];
            transaction.prepare_cached(sql)?.execute(params).map(|_| ())
        })
        .await
    }

    async fn acknowledge_consumer(
        &self,
        recipient: PartyId,
        name: &ConsumerName,
        through: Sequence,
        now: Timestamp,
    ) -> Result<Option<i64>, StoreError> {
        let name = name.clone();
        self.write(move |transaction| acknowledge(transaction, recipient, &name, through, now)).await
    }

    async fn remove_consumer(
        &self,
        recipient: PartyId,
        name: &ConsumerName,
        now: Timestamp,
    ) -> Result<ConsumerRemoval, StoreError> {
        let name = name.clone();
        self.write(move |transaction| remove(transaction, recipient, &name, now)).await
    }

    async fn consumers(&self, recipient: PartyId) -> Result<Vec<ConsumerState>, StoreError> {
        let sql = "SELECT name, acknowledged, seen_at, lease_until, (SELECT count(*) FROM \
                   (SELECT 1 FROM delivery WHERE recipient = consumer.party AND sequence > consumer.acknowledged LIMIT ?2)) \
                   FROM consumer WHERE party = ?1 ORDER BY name";
        self.read(move |connection| {
            let mut found = connection.prepare_cached(sql)?;
            found.query_map(params![blob(recipient), at_most(MAX_COUNTED)], state)?.collect()
        })
        .await
    }

    async fn drop_consumers(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let sql = "DELETE FROM consumer WHERE (party, name) IN \
                   (SELECT party, name FROM consumer WHERE seen_at < ? ORDER BY seen_at LIMIT ?)";
        self.write(move |transaction| {
            transaction.prepare_cached(sql)?.execute(params![before.0, at_most(limit)])
        })
        .await
    }
}

fn exists(connection: &Connection, recipient: PartyId, name: &ConsumerName) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM consumer WHERE party = ? AND name = ?";
    connection.prepare_cached(sql)?.exists(params![blob(recipient), name.as_str()])
}

fn remove(
    transaction: &Connection,
    recipient: PartyId,
    name: &ConsumerName,
    now: Timestamp,
) -> Result<ConsumerRemoval, Error> {
    let delete = "DELETE FROM consumer WHERE party = ? AND name = ? AND lease_until <= ?";
    if transaction.prepare_cached(delete)?.execute(params![blob(recipient), name.as_str(), now.0])? == 0 {
        let is_connected = exists(transaction, recipient, name)?;
        return Ok(if is_connected { ConsumerRemoval::Connected } else { ConsumerRemoval::Unknown });
    }
    let unnamed = mailbox(transaction, recipient, now)?.and_then(|(_, unnamed)| unnamed);
    settle::release(transaction, recipient, unnamed)?;
    settle::remove_some(transaction, recipient, REMOVAL_STEP)?;
    Ok(ConsumerRemoval::Removed)
}

fn open(
    transaction: &Connection,
    stream: &ConsumerStream,
    now: Timestamp,
    until: Timestamp,
) -> Result<ConsumerOpening, Error> {
    let last = "SELECT last_sequence FROM mailbox WHERE party = ?";
    let last = transaction.prepare_cached(last)?.query_row([blob(stream.recipient)], |row| row.get(0));
    let Some(last_sequence) = last.optional()?.map(Sequence) else { return Ok(ConsumerOpening::NoMailbox) };
    if !exists(transaction, stream.recipient, &stream.name)? {
        let names = "SELECT name FROM consumer WHERE party = ? ORDER BY name";
        let mut names = transaction.prepare_cached(names)?;
        let names = names.query_map([blob(stream.recipient)], |row| name(row, 0))?;
        let names: Vec<ConsumerName> = names.collect::<Result<_, _>>()?;
        // One place is the unnamed consumer's.
        if names.len() + 1 >= MAX_CONSUMERS {
            return Ok(ConsumerOpening::Full(names));
        }
    }
    // A lease that has not run out is taken over only by its own client.
    let take = "INSERT INTO consumer (party, name, seen_at, holder, lease_until) VALUES (?1, ?2, ?4, ?3, ?4) \
                ON CONFLICT DO UPDATE SET seen_at = ?4, holder = ?3, lease_epoch = lease_epoch + 1, lease_until = ?4 \
                WHERE lease_until <= ?5 OR holder = ?3 RETURNING lease_epoch, acknowledged";
    let (party, holder) = (blob(stream.recipient), stream.holder.into_bytes());
    let taken = transaction
        .prepare_cached(take)?
        .query_row(params![party, stream.name.as_str(), holder, until.0, now.0], |row| {
            Ok((LeaseEpoch(row.get(0)?), Sequence(row.get(1)?)))
        })
        .optional()?;
    Ok(match taken {
        Some((epoch, acknowledged)) => ConsumerOpening::Held { epoch, acknowledged, last_sequence },
        None => ConsumerOpening::Guest { last_sequence },
    })
}

fn acknowledge(
    transaction: &Connection,
    recipient: PartyId,
    name: &ConsumerName,
    through: Sequence,
    now: Timestamp,
) -> Result<Option<i64>, Error> {
    let Some((last, unnamed)) = mailbox(transaction, recipient, now)? else { return Ok(None) };
    let moved = "UPDATE consumer SET acknowledged = max(acknowledged, ?3), seen_at = max(seen_at, ?4) \
                 WHERE party = ?1 AND name = ?2 RETURNING acknowledged";
    // A cursor from before the store was restored from an older backup.
    let through = if through.0 > last { 0 } else { through.0 };
    let cursor: Option<i64> = transaction
        .prepare_cached(moved)?
        .query_row(params![blob(recipient), name.as_str(), through, now.0], |row| row.get(0))
        .optional()?;
    let Some(cursor) = cursor else { return Ok(None) };
    // What a consumer has received must not be merged any more.
    let received = "UPDATE mailbox SET handed_out = ?2 WHERE party = ?1 AND handed_out < ?2";
    transaction.prepare_cached(received)?.execute(params![blob(recipient), cursor])?;
    settle::release(transaction, recipient, unnamed)?;
    settle::remove_some(transaction, recipient, REMOVAL_STEP)?;
    let waiting =
        "SELECT count(*) FROM (SELECT 1 FROM delivery WHERE recipient = ? AND sequence > ? LIMIT ?)";
    let params = params![blob(recipient), cursor, at_most(MAX_COUNTED)];
    transaction.prepare_cached(waiting)?.query_row(params, |row| row.get(0)).map(Some)
}

/// Returns a mailbox's last sequence, and the cursor of the unnamed consumer if it counts.
fn mailbox(
    transaction: &Connection,
    recipient: PartyId,
    now: Timestamp,
) -> Result<Option<(i64, Option<i64>)>, Error> {
    let sql = "SELECT last_sequence, acknowledged, callback_port IS NOT NULL OR stream_until > ?2 \
               FROM mailbox WHERE party = ?1";
    transaction
        .prepare_cached(sql)?
        .query_row(params![blob(recipient), unnamed_since(now).0], |row| {
            Ok((row.get(0)?, row.get::<_, bool>(2)?.then_some(row.get(1)?)))
        })
        .optional()
}

fn name(row: &Row<'_>, column: usize) -> Result<ConsumerName, Error> {
    ConsumerName::parse(row.get_ref(column)?.as_str()?).map_err(|error| unreadable(column, error))
}

fn state(row: &Row<'_>) -> Result<ConsumerState, Error> {
    Ok(ConsumerState {
        name: name(row, 0)?,
        acknowledged: row.get(1)?,
        seen_at: Timestamp(row.get(2)?),
        lease_until: Timestamp(row.get(3)?),
        pending: row.get(4)?,
    })
}
