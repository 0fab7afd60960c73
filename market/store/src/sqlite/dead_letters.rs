//! Dead letters, and the counts of what mailboxes have dropped.

use async_trait::async_trait;
use rusqlite::{Connection, Error, OptionalExtension as _, Row, params, types::Value};
use souk_domain::{ConsumerName, DeadLetter, DeadLetterId, PartyId, Timestamp};

use super::{
    convert::{self, blob, unreadable},
    mailboxes::{self, SqliteMailboxes},
    rows::at_most,
};
use crate::{DeadLetterQuery, DeadLetters, Dropped, MailboxRecord, Missed, StoreError};

const LETTER: &str = "id, recipient, body, reason, died_at";

#[async_trait]
impl DeadLetters for SqliteMailboxes {
    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        let DeadLetterQuery { recipient, after, limit } = *query;
        let after = after.map_or(0, |after| after.0);
        let of = if recipient.is_some() { "recipient = ?1 AND" } else { "" };
        let sql = format!("SELECT {LETTER} FROM dead_letter WHERE {of} id > ?2 ORDER BY id LIMIT ?3");
        self.read(move |connection| {
            let recipient = recipient.map_or(Value::Null, |recipient| Value::Blob(blob(recipient).to_vec()));
            let mut found = connection.prepare_cached(&sql)?;
            found.query_map(params![recipient, after, at_most(limit)], letter)?.collect()
        })
        .await
    }

    async fn dead_letters_by_id(&self, ids: &[DeadLetterId]) -> Result<Vec<DeadLetter>, StoreError> {
        let sql = format!("SELECT {LETTER} FROM dead_letter WHERE id = ?");
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        self.read(move |connection| {
            let mut found = connection.prepare_cached(&sql)?;
            let letters = ids.iter().map(|id| found.query_row([id.0], letter).optional());
            letters.filter_map(Result::transpose).collect()
        })
        .await
    }

    async fn forget_dead_letters(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let sql = "DELETE FROM dead_letter WHERE id IN \
                   (SELECT id FROM dead_letter WHERE died_at < ? ORDER BY died_at LIMIT ?)";
        self.write(move |transaction| {
            transaction.prepare_cached(sql)?.execute(params![before.0, at_most(limit)])
        })
        .await
    }

    async fn missed(
        &self,
        recipient: PartyId,
        consumer: Option<&ConsumerName>,
    ) -> Result<Missed, StoreError> {
        let consumer = consumer.cloned();
        self.read(move |connection| missed(connection, recipient, consumer.as_ref())).await
    }

    async fn confirm_missed(
        &self,
        recipient: PartyId,
        consumer: Option<&ConsumerName>,
        total: Dropped,
    ) -> Result<(), StoreError> {
        let (table, of) = match consumer {
            Some(_) => ("consumer", "AND name = ?4"),
            None => ("mailbox", "AND ?4 IS NULL"),
        };
        let sql = format!(
            "UPDATE {table} SET told_orders = max(told_orders, ?2), told_updates = max(told_updates, ?3) \
             WHERE party = ?1 {of} AND missed_orders >= ?2 AND missed_updates >= ?3"
        );
        let name = consumer.map(ToString::to_string);
        self.write(move |transaction| {
            let values = params![blob(recipient), total.orders, total.updates, name];
            transaction.prepare_cached(&sql)?.execute(values).map(|_| ())
        })
        .await
    }

    async fn mailboxes(
        &self,
        after: Option<PartyId>,
        with_backlog: bool,
        limit: usize,
    ) -> Result<Vec<MailboxRecord>, StoreError> {
        let sql = format!(
            "SELECT {}, party, role FROM mailbox WHERE party > ?1 AND (pending > 0 OR NOT ?2) ORDER BY party LIMIT ?3",
            mailboxes::STATE
        );
        self.read(move |connection| {
            let after = after.map_or_else(Vec::new, |after| blob(after).to_vec());
            let mut found = connection.prepare_cached(&sql)?;
            let record = |row: &Row<'_>| {
                Ok(MailboxRecord {
                    state: mailboxes::state(row)?,
                    owner: convert::party_id(row, mailboxes::STATE_COLUMNS)?,
                    role: convert::role(row, mailboxes::STATE_COLUMNS + 1)?,
                })
            };
            found.query_map(params![after, with_backlog, at_most(limit)], record)?.collect()
        })
        .await
    }
}

fn missed(
    connection: &Connection,
    recipient: PartyId,
    consumer: Option<&ConsumerName>,
) -> Result<Missed, Error> {
    let report = |row: &Row<'_>| {
        let total = Dropped { orders: row.get(0)?, updates: row.get(1)? };
        Ok(Missed::since(Dropped { orders: row.get(2)?, updates: row.get(3)? }, total))
    };
    let columns = "SELECT missed_orders, missed_updates, told_orders, told_updates FROM";
    let missed = match consumer {
        Some(name) => connection
            .prepare_cached(&format!("{columns} consumer WHERE party = ? AND name = ?"))?
            .query_row(params![blob(recipient), name.as_str()], report),
        None => connection
            .prepare_cached(&format!("{columns} mailbox WHERE party = ?"))?
            .query_row([blob(recipient)], report),
    };
    Ok(missed.optional()?.unwrap_or_default())
}

fn letter(row: &Row<'_>) -> Result<DeadLetter, Error> {
    let event = serde_json::from_str(row.get_ref(2)?.as_str()?).map_err(|error| unreadable(2, error))?;
    Ok(DeadLetter {
        id: DeadLetterId(row.get(0)?),
        recipient: convert::party_id(row, 1)?,
        event,
        reason: row.get(3)?,
        died_at: Timestamp(row.get(4)?),
    })
}
