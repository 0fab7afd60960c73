//! The keys of all markets on the store: publishing the own one, and following the others.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use souk_certs::{credentials::Credentials, statement::CannotSign};
use souk_store::{MarketKeys, PublishedKey, StoreError};
use tokio::time::Instant;

use super::{
    TOKEN_LIFE, Tokens,
    market_key::{self, KEY_LIFE},
};
use crate::clock::Clock;

/// How long after a read of the store a token of an unknown key does not cause another. Anybody with a certificate can send
/// any number of such tokens.
const LOOK_UP_PAUSE: Duration = Duration::from_secs(1);
/// How long a call waits for a read.
const LOOK_UP_PATIENCE: Duration = Duration::from_secs(2);
/// How long a replaced key stays published: its last tokens live for ten minutes, to clocks that may differ a little.
const AFTERLIFE: Duration = Duration::from_secs(TOKEN_LIFE.as_secs() + 300);
/// How long a published key must still be valid. A market publishes its key again before.
const MARGIN: Duration = Duration::from_secs(24 * 3_600);

/// The keys that the markets on a store have published. One for each market, shared by its guards.
pub struct PublishedKeys {
    store: Arc<dyn MarketKeys>,
    tokens: Arc<Tokens>,
    /// The market's current credentials, by which the rows are judged.
    present: Arc<ArcSwap<Credentials>>,
    /// The rows as last read.
    rows: Mutex<Arc<[PublishedKey]>>,
    /// The ids of those that did not count, so that each is reported once. Held while the rows are judged, so that there is
    /// one judgement at a time.
    discounted: Mutex<BTreeSet<String>>,
    /// When the store was last read. Held during a read, so that there is one at a time.
    read_at: tokio::sync::Mutex<Option<Instant>>,
    /// Whether this market has made its key itself. A key that an operator has put there is not published: the operator
    /// gives it to the other markets, and takes it back by replacing it.
    is_own: bool,
    clock: Clock,
}

/// Why the market's own key could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The store can't be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The market's private key is not a P-256 key.
    #[error(transparent)]
    CannotSign(#[from] CannotSign),
}

impl PublishedKeys {
    /// Knows no keys yet. `is_own` says whether this market has made its key itself, and so publishes it.
    pub fn new(
        store: Arc<dyn MarketKeys>,
        (tokens, is_own): (Arc<Tokens>, bool),
        present: Arc<ArcSwap<Credentials>>,
        clock: Clock,
    ) -> Self {
        let (rows, read_at) = (Mutex::new(Arc::from([])), tokio::sync::Mutex::default());
        Self { store, tokens, present, rows, discounted: Mutex::default(), read_at, is_own, clock }
    }

    /// Reads the store again because a token names an unknown key, unless it was read less than a second ago. Returns when
    /// the keys are up to date, the store does not answer, or there was nothing to do.
    pub async fn look_up(&self) {
        let read = async {
            let mut read_at = self.read_at.lock().await;
            // A caller that waited for the lock has the result of that read.
            if read_at.is_some_and(|at| at.elapsed() < LOOK_UP_PAUSE) {
                return;
            }
            // Also after a failure: an unreachable store must not be asked for each call.
            *read_at = Some(Instant::now());
            self.read_or_keep().await;
        };
        // A call that gives up ends the read; the next one after the pause begins another.
        if tokio::time::timeout(LOOK_UP_PATIENCE, read).await.is_err() {
            tracing::warn!("the store did not answer in time for the keys of other markets");
        }
    }

    /// Reads the store, and publishes the key that this market has made if it does not count there for another day. To be
    /// called again and again.
    ///
    /// # Errors
    /// The store can't be reached. The keys known before are then judged again, and those that still count stay.
    pub async fn refresh(&self) -> Result<(), PublishError> {
        let mut read_at = self.read_at.lock().await;
        *read_at = Some(Instant::now());
        self.read_or_keep().await;
        let own = self.tokens.own_key();
        if !self.is_own || self.counts_until_later(&own.id) {
            return Ok(());
        }
        self.publish(&own.public_key).await?;
        self.read_or_keep().await;
        Ok(())
    }

    /// Publishes a key of this market.
    ///
    /// # Errors
    /// The store can't be reached, or the market's private key can't sign.
    pub async fn publish(&self, public_key: &[u8]) -> Result<(), PublishError> {
        self.publish_for(public_key, KEY_LIFE).await
    }

    /// Lets a published key end as soon as the last token that it has signed by now.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn retire(&self, public_key: &[u8]) -> Result<(), PublishError> {
        self.publish_for(public_key, AFTERLIFE).await
    }

    async fn publish_for(&self, public_key: &[u8], life: Duration) -> Result<(), PublishError> {
        let now = self.clock.now();
        let row = market_key::publish(public_key, &self.present.load(), now, life)?;
        Ok(self.store.publish(&row, now).await?)
    }

    /// Judges the rows as last read by the market's current credentials, at once. Returns whether tokens that were valid
    /// before may be invalid now. To be called after a change of the credentials: one of the rows may be signed with a
    /// certificate that has been revoked.
    pub fn judge(&self) -> bool {
        // Before anything is read: the last to hold the lock decides, so it must have the newest rows and credentials.
        let mut known = self.discounted.lock().unwrap_or_else(PoisonError::into_inner);
        let (rows, credentials, now) = (self.rows(), self.present.load(), self.clock.now());
        let (mut keys, mut discounted) = (Vec::with_capacity(rows.len()), BTreeSet::new());
        for row in rows.iter() {
            match market_key::judged(row, &credentials, now) {
                Ok(key) => keys.push(key),
                Err(why) => {
                    if !known.contains(&row.id) {
                        let key = row.id.escape_default();
                        tracing::warn!(%key, "a token key in the store does not count: {why}");
                    }
                    discounted.insert(row.id.clone());
                }
            }
        }
        *known = discounted;
        self.tokens.replace_published(keys)
    }

    async fn read_or_keep(&self) {
        match self.store.published(self.clock.now()).await {
            Ok(rows) => self.keep(rows.into()),
            Err(error) => tracing::warn!(%error, "cannot read the token keys of other markets"),
        }
        self.judge();
    }

    /// Returns whether a key is published and stays valid for a while.
    fn counts_until_later(&self, id: &str) -> bool {
        let (credentials, later) = (self.present.load(), self.clock.now().plus(MARGIN));
        // A certificate that ends soon can't be helped before it has been renewed.
        let lasts = |row: &PublishedKey| {
            row.certificate == *credentials.leaf_der()
                || credentials.accept(&row.certificate.as_slice().into(), later.into())
        };
        self.rows()
            .iter()
            .filter(|row| row.id == id && row.not_after >= later && lasts(row))
            .any(|row| market_key::judged(row, &credentials, self.clock.now()).is_ok())
    }

    fn rows(&self) -> Arc<[PublishedKey]> {
        Arc::clone(&self.rows.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A poisoned lock is safe to use: the value is replaced as a whole.
    fn keep(&self, rows: Arc<[PublishedKey]>) {
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner) = rows;
    }
}
