//! The public keys with which the markets on a store sign access tokens, for the other markets to verify them.

use async_trait::async_trait;
use souk_domain::Timestamp;

use super::StoreError;

/// The maximum number of keys that are read. Each market has two at most, the present one and the one before, and no more
/// than a few dozen markets share a database.
pub const MAX_PUBLISHED_KEYS: usize = 256;

/// How long after its end a key is kept, in wall time. No token that it has signed is valid then.
pub const ENDED_KEY_RETENTION: std::time::Duration = std::time::Duration::from_secs(24 * 3_600);

/// A key as it was published. The store does not judge it: anybody who can write to the database can plant a row, so a
/// reader believes only what the market's certificate has signed.
#[derive(Clone, PartialEq, Eq)]
pub struct PublishedKey {
    /// The id by which tokens name the key.
    pub id: String,
    /// The public key: 32 bytes for Ed25519.
    pub public_key: Vec<u8>,
    /// The beginning of its validity, in wall time.
    pub not_before: Timestamp,
    /// The end of its validity, in wall time.
    pub not_after: Timestamp,
    /// The certificate of the market, in DER.
    pub certificate: Vec<u8>,
    /// The signature over all of the above with the certificate's key.
    pub signature: Vec<u8>,
}

impl std::fmt::Debug for PublishedKey {
    /// Without the bytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, not_before, not_after, .. } = self;
        f.debug_struct("PublishedKey")
            .field("id", id)
            .field("not_before", not_before)
            .field("not_after", not_after)
            .finish_non_exhaustive()
    }
}

/// The keys that markets publish to each other.
#[async_trait]
pub trait MarketKeys: Send + Sync {
    /// Publishes a key, in place of one of the same id, and removes keys that ended [`ENDED_KEY_RETENTION`] before `now`.
    /// A power loss may forget it: a market looks again and again whether its key is there.
    async fn publish(&self, key: &PublishedKey, now: Timestamp) -> Result<(), StoreError>;

    /// Returns the keys that have not ended at `now`, those that end last first, up to [`MAX_PUBLISHED_KEYS`].
    async fn published(&self, now: Timestamp) -> Result<Vec<PublishedKey>, StoreError>;
}
