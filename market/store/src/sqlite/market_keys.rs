//! Published keys. Only one market has the file open, but it may have been another one before.

use async_trait::async_trait;
use rusqlite::{Error, Row, params};
use souk_domain::Timestamp;

use super::{mailboxes::SqliteMailboxes, rows::at_most};
use crate::{ENDED_KEY_RETENTION, MAX_PUBLISHED_KEYS, MarketKeys, PublishedKey, StoreError};

const PUBLISH: &str = "INSERT INTO token_key (id, public_key, not_before, not_after, certificate, signature) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO UPDATE SET public_key = ?2, not_before = ?3, not_after = ?4, \
     certificate = ?5, signature = ?6";
const FORGET: &str = "DELETE FROM token_key WHERE not_after < ?";
const PUBLISHED: &str = "SELECT id, public_key, not_before, not_after, certificate, signature FROM token_key \
     WHERE not_after >= ? ORDER BY not_after DESC, id LIMIT ?";

#[async_trait]
impl MarketKeys for SqliteMailboxes {
    async fn publish(&self, key: &PublishedKey, now: Timestamp) -> Result<(), StoreError> {
        let (key, ended) = (key.clone(), now.minus(ENDED_KEY_RETENTION));
        self.write(move |transaction| {
            transaction.prepare_cached(FORGET)?.execute([ended.0])?;
            let PublishedKey { id, public_key, not_before, not_after, certificate, signature } = &key;
            let values = params![id, public_key, not_before.0, not_after.0, certificate, signature];
            transaction.prepare_cached(PUBLISH)?.execute(values).map(drop)
        })
        .await
    }

    async fn published(&self, now: Timestamp) -> Result<Vec<PublishedKey>, StoreError> {
        self.read(move |connection| {
            let mut found = connection.prepare_cached(PUBLISHED)?;
            found.query_map(params![now.0, at_most(MAX_PUBLISHED_KEYS)], published)?.collect()
        })
        .await
    }
}

fn published(row: &Row<'_>) -> Result<PublishedKey, Error> {
    Ok(PublishedKey {
        id: row.get(0)?,
        public_key: row.get(1)?,
        not_before: Timestamp(row.get(2)?),
        not_after: Timestamp(row.get(3)?),
        certificate: row.get(4)?,
        signature: row.get(5)?,
    })
}
