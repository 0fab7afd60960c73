//! Published keys, which all markets on the database read.

use async_trait::async_trait;
use souk_domain::Timestamp;
use tokio_postgres::Row;

use super::{
    connection::params,
    convert::get,
    error::Failure,
    mailboxes::PostgresMailboxes,
    rows::{all, at_most},
};
use crate::{ENDED_KEY_RETENTION, MAX_PUBLISHED_KEYS, MarketKeys, PublishedKey, StoreError};

const PUBLISH: &str = "WITH ended AS (DELETE FROM token_key WHERE not_after < $7 AND id <> $1) \
     INSERT INTO token_key (id, public_key, not_before, not_after, certificate, signature) VALUES ($1, $2, $3, $4, $5, $6) \
     ON CONFLICT (id) DO UPDATE SET public_key = $2, not_before = $3, not_after = $4, certificate = $5, signature = $6";
const PUBLISHED: &str = "SELECT id, public_key, not_before, not_after, certificate, signature FROM token_key \
     WHERE not_after >= $1 ORDER BY not_after DESC, id COLLATE \"C\" LIMIT $2";

#[async_trait]
impl MarketKeys for PostgresMailboxes {
    async fn publish(&self, key: &PublishedKey, now: Timestamp) -> Result<(), StoreError> {
        let PublishedKey { id, public_key, not_before, not_after, certificate, signature } = key;
        let ended = now.minus(ENDED_KEY_RETENTION).0;
        let values = || {
            let (id, public_key) = (id.clone(), public_key.clone());
            let (certificate, signature) = (certificate.clone(), signature.clone());
            params![id, public_key, not_before.0, not_after.0, certificate, signature, ended]
        };
        Ok(self.pool().query(PUBLISH, values).await.map(drop)?)
    }

    async fn published(&self, now: Timestamp) -> Result<Vec<PublishedKey>, StoreError> {
        let rows = self.pool().query(PUBLISHED, || params![now.0, at_most(MAX_PUBLISHED_KEYS)]).await?;
        all(&rows, published)
    }
}

fn published(row: &Row) -> Result<PublishedKey, Failure> {
    Ok(PublishedKey {
        id: get(row, 0)?,
        public_key: get(row, 1)?,
        not_before: Timestamp(get(row, 2)?),
        not_after: Timestamp(get(row, 3)?),
        certificate: get(row, 4)?,
        signature: get(row, 5)?,
    })
}
