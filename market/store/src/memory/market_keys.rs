//! Published keys, which end with the state.

use std::cmp::Reverse;

use async_trait::async_trait;
use souk_domain::Timestamp;

use super::Memory;
use crate::{ENDED_KEY_RETENTION, MAX_PUBLISHED_KEYS, MarketKeys, PublishedKey, StoreError};

#[async_trait]
impl MarketKeys for Memory {
    async fn publish(&self, key: &PublishedKey, now: Timestamp) -> Result<(), StoreError> {
        let keys = &mut self.state().market_keys;
        keys.retain(|_, kept| kept.not_after >= now.minus(ENDED_KEY_RETENTION));
        keys.insert(key.id.clone(), key.clone());
        Ok(())
    }

    async fn published(&self, now: Timestamp) -> Result<Vec<PublishedKey>, StoreError> {
        let state = self.state();
        let mut keys: Vec<_> =
            state.market_keys.values().filter(|key| key.not_after >= now).cloned().collect();
        keys.sort_by(|a, b| (Reverse(a.not_after), &a.id).cmp(&(Reverse(b.not_after), &b.id)));
        keys.truncate(MAX_PUBLISHED_KEYS);
        Ok(keys)
    }
}
