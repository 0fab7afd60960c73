//! Keeps the key that signs tokens published for the other markets on the store, and replaces it every 30 days if it is the
//! market's own.

use std::{fs, path::Path, sync::Arc, time::Duration};

use souk_domain::Timestamp;
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    access::{Access, PublishError, PublishedKeys, TokenKeyError, TokenKeys, Tokens},
    clock::Clock,
    config::TokenKeyFiles,
    random::Random,
};

/// The interval between looks at the keys of other markets. A token of a key that is not known yet causes a look at once.
const LOOK: Duration = Duration::from_secs(30);
/// The age at which the market replaces its own key.
const ROTATION: Duration = Duration::from_secs(30 * 24 * 3_600);
/// The pause after an attempt to replace the key that failed. The key stays published for another day.
const ROTATION_RETRY: Duration = Duration::from_secs(3_600);

/// Keeps the keys of this market, and follows those of others.
pub(super) struct KeyKeeper {
    pub(super) published: Arc<PublishedKeys>,
    pub(super) access: Arc<Access>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) files: TokenKeyFiles,
    /// Notified when the market's certificate or what it trusts has changed.
    pub(super) changed: Arc<Notify>,
    pub(super) clock: Clock,
    pub(super) random: Random,
}

/// Why the market goes on with the key that it has.
#[derive(Debug, thiserror::Error)]
enum RotationError {
    #[error(transparent)]
    Key(#[from] TokenKeyError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl KeyKeeper {
    /// Keeps the keys until the market shuts down.
    pub(super) async fn run(self, closing: CancellationToken) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rests_until = Instant::now();
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                _ = looks.tick() => {}
                () = self.changed.notified() => {}
            }
            if Instant::now() >= rests_until
                && let Err(error) = self.rotate_if_due().await
            {
                rests_until = Instant::now() + ROTATION_RETRY;
                tracing::warn!(
                    %error,
                    "the token key was not replaced; the market goes on with the present one, and tries again in an hour"
                );
            }
            if let Err(error) = self.published.refresh().await {
                tracing::warn!(%error, "the token key could not be published to other markets; trying again");
            }
        }
    }

    async fn rotate_if_due(&self) -> Result<(), RotationError> {
        let path = &self.files.current;
        let made_at = made_at(path).filter(|_| self.files.is_own);
        if made_at.is_none_or(|made_at| self.clock.now() < made_at.plus(ROTATION)) {
            return Ok(());
        }
        let before = self.tokens.own_key();
        let next = next_key(&self.published, &self.files, self.random.uuid_v4()).await?;
        if self.tokens.replace_keys(next) {
            self.access.forget_tokens();
        }
        self.published.retire(&before.public_key).await?;
        tracing::info!(key = self.tokens.own_key().id, "replaced the key that signs tokens");
        Ok(())
    }
}

/// Puts the next key into the place of the present one, and returns it. `unique` is a new id, for the name of a temporary file.
///
/// It is published before it signs, so that no other market sees a token of a key that is not there, and written before it is
/// published, so that attempts that fail don't each leave another key in the store.
async fn next_key(
    published: &PublishedKeys,
    files: &TokenKeyFiles,
    unique: Uuid,
) -> Result<TokenKeys, RotationError> {
    let waiting = files.next();
    let next = TokenKeys::prepare(&waiting, unique)?;
    published.publish(&next.own().public_key).await?;
    TokenKeys::adopt(&waiting, &files.current)?;
    Ok(next)
}

/// Returns when a file was written last, which is when its key was made.
fn made_at(path: &Path) -> Option<Timestamp> {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    Some(time::OffsetDateTime::from(modified).into())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use arc_swap::ArcSwap;
    use async_trait::async_trait;
    use souk_authority::pki::{InitOptions, Pki};
    use souk_certs::{credentials::Credentials, identity::TrustDomain, random};
    use souk_store::{MarketKeys, PublishedKey, StoreError};
    use tempfile::TempDir;

    use super::*;

    /// A store that remembers the keys that were published, and can be away.
    #[derive(Default)]
    struct Rows {
        published: Mutex<Vec<String>>,
        is_away: Mutex<bool>,
    }

    #[async_trait]
    impl MarketKeys for Rows {
        async fn publish(&self, key: &PublishedKey, _now: Timestamp) -> Result<(), StoreError> {
            self.published.lock().unwrap().push(key.id.clone());
            if *self.is_away.lock().unwrap() { Err(StoreError::Overloaded) } else { Ok(()) }
        }

        async fn published(&self, _now: Timestamp) -> Result<Vec<PublishedKey>, StoreError> {
            Ok(Vec::new())
        }
    }

    struct Folder {
        rows: Arc<Rows>,
        published: PublishedKeys,
        files: TokenKeyFiles,
        _folder: TempDir,
    }

    fn folder() -> Folder {
        let folder = tempfile::tempdir().unwrap();
        let now = Clock::SYSTEM.now().into();
        let pki = Pki::init(&folder.path().join("pki"), &InitOptions::default(), now).unwrap();
        let credentials =
            Credentials::load(&pki.market().unwrap().files(), &TrustDomain::default(), now).unwrap();
        let current = folder.path().join("market/token.key");
        fs::create_dir(folder.path().join("market")).unwrap();
        let previous = current.with_extension("previous.key");
        let files = TokenKeyFiles { is_own: true, current, previous };
        let keys = TokenKeys::load(&files, random::uuid_v4()).unwrap();
        let tokens = Arc::new(Tokens::new(keys, &TrustDomain::default()));
        let rows = Arc::new(Rows::default());
        let present = Arc::new(ArcSwap::from_pointee(credentials));
        let published = PublishedKeys::new(rows.clone(), (tokens, true), present, Clock::SYSTEM);
        Folder { rows, published, files, _folder: folder }
    }

    impl Folder {
        async fn rotate(&self) -> Result<String, RotationError> {
            next_key(&self.published, &self.files, random::uuid_v4()).await.map(|next| next.own().id)
        }

        fn published(&self) -> Vec<String> {
            self.rows.published.lock().unwrap().clone()
        }

        fn current(&self) -> String {
            TokenKeys::load(&self.files, random::uuid_v4()).unwrap().own().id
        }
    }

    #[tokio::test]
    async fn next_key_is_published_and_then_signs() {
        let market = folder();
        let before = market.current();
        let next = market.rotate().await.unwrap();
        assert_ne!(next, before);
        assert_eq!((market.published(), market.current()), (vec![next.clone()], next));
        assert!(!market.files.next().exists());
        assert!(!souk_certs::file::others_may_read(&market.files.current));
    }

    #[tokio::test]
    async fn attempts_that_fail_publish_one_key_at_most() {
        let market = folder();
        let before = market.current();
        *market.rows.is_away.lock().unwrap() = true;
        for _ in 0..3 {
            assert!(matches!(market.rotate().await, Err(RotationError::Publish(_))));
            assert_eq!(market.current(), before, "an unpublished key must not sign");
        }
        *market.rows.is_away.lock().unwrap() = false;
        let next = market.rotate().await.unwrap();
        assert_eq!(market.published(), vec![next; 4]);
    }

    #[tokio::test]
    async fn key_that_cant_be_written_is_not_published() {
        let market = folder();
        let before = market.current();
        // Something is in the way, which stops even root.
        fs::create_dir(market.files.next()).unwrap();
        for _ in 0..3 {
            assert!(matches!(market.rotate().await, Err(RotationError::Key(_))));
        }
        assert!(market.published().is_empty());
        assert_eq!(market.current(), before);
    }
}
