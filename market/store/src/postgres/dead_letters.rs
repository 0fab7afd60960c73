//! Dead letters, and the counts of what mailboxes have dropped.

use async_trait::async_trait;
use souk_domain::{ConsumerName, DeadLetter, DeadLetterId, PartyId, Timestamp};
use tokio_postgres::Row;

use super::{
    connection::params,
    convert::{self, first, get},
    error::Failure,
    mailboxes::{self, PostgresMailboxes},
    rows::{all, at_most},
};
use crate::{DeadLetterQuery, DeadLetters, Dropped, MailboxRecord, Missed, StoreError};

const LETTERS: &str =
    "SELECT id, recipient, body, reason, died_at FROM dead_letter WHERE id > $1 ORDER BY id LIMIT $2";
const LETTERS_OF: &str = "SELECT id, recipient, body, reason, died_at FROM dead_letter \
     WHERE recipient = $3 AND id > $1 ORDER BY id LIMIT $2";
const LETTERS_BY_ID: &str =
    "SELECT id, recipient, body, reason, died_at FROM dead_letter WHERE id = ANY($1) ORDER BY id";
const FORGET: &str = "DELETE FROM dead_letter WHERE id IN \
     (SELECT id FROM dead_letter WHERE died_at < $1 ORDER BY died_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1";
const MISSED: &str =
    "SELECT missed_orders, missed_updates, told_orders, told_updates FROM mailbox WHERE party = $1";
const MISSED_BY: &str = "SELECT missed_orders, missed_updates, told_orders, told_updates FROM consumer \
     WHERE party = $1 AND name = $2";
const CONFIRM: &str = "UPDATE mailbox SET told_orders = greatest(told_orders, $2), \
     told_updates = greatest(told_updates, $3) \
     WHERE party = $1 AND missed_orders >= $2 AND missed_updates >= $3";
const CONFIRM_BY: &str = "UPDATE consumer SET told_orders = greatest(told_orders, $2), \
     told_updates = greatest(told_updates, $3) \
     WHERE party = $1 AND name = $4 AND missed_orders >= $2 AND missed_updates >= $3";
const MAILBOXES: &str = concat!(
    "SELECT ",
    mailboxes::state_columns!(),
    ", party, role FROM mailbox WHERE ($1::UUID IS NULL OR party > $1) AND (pending > 0 OR NOT $2) \
     ORDER BY party LIMIT $3"
);

/// The statements whose plans are checked for scans.
#[cfg(test)]
pub(super) const PLANNED: &[&str] =
    &[LETTERS, LETTERS_OF, LETTERS_BY_ID, FORGET, MISSED, MISSED_BY, CONFIRM, CONFIRM_BY];

#[async_trait]
impl DeadLetters for PostgresMailboxes {
    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        let (after, limit) = (query.after.map_or(0, |after| after.0), at_most(query.limit));
        let rows = match query.recipient {
            Some(recipient) => self.pool().query(LETTERS_OF, || params![after, limit, recipient.0]).await?,
            None => self.pool().query(LETTERS, || params![after, limit]).await?,
        };
        all(&rows, letter)
    }

    async fn dead_letters_by_id(&self, ids: &[DeadLetterId]) -> Result<Vec<DeadLetter>, StoreError> {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        all(&self.pool().query(LETTERS_BY_ID, || params![ids.clone()]).await?, letter)
    }

    async fn forget_dead_letters(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        Ok(self.pool().query(FORGET, || params![before.0, at_most(limit)]).await?.len())
    }

    async fn missed(
        &self,
        recipient: PartyId,
        consumer: Option<&ConsumerName>,
    ) -> Result<Missed, StoreError> {
        let rows = match consumer {
            Some(name) => self.pool().query(MISSED_BY, || params![recipient.0, name.to_string()]).await?,
            None => self.pool().query(MISSED, || params![recipient.0]).await?,
        };
        let report = |row: &Row| {
            let total = Dropped { orders: get(row, 0)?, updates: get(row, 1)? };
            Ok(Missed::since(Dropped { orders: get(row, 2)?, updates: get(row, 3)? }, total))
        };
        Ok(first(&rows, report)?.unwrap_or_default())
    }

    async fn confirm_missed(
        &self,
        recipient: PartyId,
        consumer: Option<&ConsumerName>,
        total: Dropped,
    ) -> Result<(), StoreError> {
        let Dropped { orders, updates } = total;
        match consumer {
            Some(name) => {
                let values = || params![recipient.0, orders, updates, name.to_string()];
                self.pool().query(CONFIRM_BY, values).await?
            }
            None => self.pool().query(CONFIRM, || params![recipient.0, orders, updates]).await?,
        };
        Ok(())
    }

    async fn mailboxes(
        &self,
        after: Option<PartyId>,
        with_backlog: bool,
        limit: usize,
    ) -> Result<Vec<MailboxRecord>, StoreError> {
        let after = after.map(|after| after.0);
        let rows = self.pool().query(MAILBOXES, || params![after, with_backlog, at_most(limit)]).await?;
        all(&rows, |row| {
            Ok(MailboxRecord {
                state: mailboxes::state(row)?,
                owner: convert::party_id(row, mailboxes::STATE_COLUMNS)?,
                role: convert::role(row, mailboxes::STATE_COLUMNS + 1)?,
            })
        })
    }
}

fn letter(row: &Row) -> Result<DeadLetter, Failure> {
    Ok(DeadLetter {
        id: DeadLetterId(get(row, 0)?),
        recipient: convert::party_id(row, 1)?,
        event: convert::json(row, 2)?,
        reason: get(row, 3)?,
        died_at: Timestamp(get(row, 4)?),
    })
}
