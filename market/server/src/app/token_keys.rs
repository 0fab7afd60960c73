//! Keeps the key that signs tokens published for the other markets on the store, and replaces it every 30 days if it is the
//! market's own.

use std::{fs, path::Path, sync::Arc, time::Duration};

use souk_domain::Timestamp;
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

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
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                _ = looks.tick() => {}
                () = self.changed.notified() => {}
            }
            if let Err(error) = self.rotate_if_due().await {
                tracing::warn!(%error, "the token key was not replaced; the market goes on with the present one");
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
        let pem = TokenKeys::generate()?;
        let unusable = || TokenKeyError::NotAKey { path: path.clone() };
        let next = TokenKeys::from_pem(pem.as_bytes()).ok_or_else(unusable)?;
        let before = self.tokens.own_key();
        // Published before it signs, so that no other market sees a token of a key that is not there. If this fails, nothing
        // has changed.
        self.published.publish(&next.own().public_key).await?;
        TokenKeys::save(path, &pem, self.random.uuid_v4())?;
        if self.tokens.replace_keys(next) {
            self.access.forget_tokens();
        }
        self.published.retire(&before.public_key).await?;
        tracing::info!(key = self.tokens.own_key().id, "replaced the key that signs tokens");
        Ok(())
    }
}

/// Returns when a file was written last, which is when its key was made.
fn made_at(path: &Path) -> Option<Timestamp> {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    Some(time::OffsetDateTime::from(modified).into())
}
