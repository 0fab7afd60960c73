//! The public keys that markets publish in their store, and which of them count.
//!
//! Anybody who can write to the database can plant a row. So a row counts only while
//!
//! - its certificate chains to a root that is trusted now, names a market, and is neither expired nor revoked,
//! - that certificate's key has signed the rest of the row,
//! - its id is that of its key, and its validity, of a bounded length, includes the present.

use jsonwebtoken::DecodingKey;
use rustls::pki_types::CertificateDer;
use souk_certs::{
    credentials::Credentials,
    identity::{Identity, PeerCertificate},
    statement::{self, CannotSign},
};
use souk_domain::Timestamp;
use souk_store::PublishedKey;
use std::time::Duration;

use super::keys::key_id;

/// What precedes a row in the text that is signed.
const PREFIX: &[u8] = b"souk token key v1\n";

/// How long a published key is valid: the time between two rotations, and a day in which a market that can't reach its store
/// goes on with the key that it has.
pub(super) const KEY_LIFE: Duration = Duration::from_secs(31 * 24 * 3_600);

/// How far ahead of the clock the validity may begin, as for a certificate.
const MAX_AHEAD: Duration = Duration::from_secs(5 * 60);

/// Length of an Ed25519 public key.
const PUBLIC_KEY_BYTES: usize = 32;

/// Why a row does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Discounted {
    /// The id is not that of the key, or the key is no Ed25519 key.
    #[error("its id is not that of its key")]
    Id,
    /// The validity has ended, has not begun, or is too long.
    #[error("it is not valid at present")]
    Validity,
    /// The certificate is not of a trusted root, expired, or revoked.
    #[error("its certificate is not accepted here")]
    Certificate,
    /// The certificate names a party or the authority.
    #[error("its certificate is not a market's")]
    NotAMarket,
    /// The signature does not match.
    #[error("its certificate has not signed it")]
    Signature,
}

/// Signs a row for a public key, which is valid from `now` for `life`.
pub(super) fn publish(
    public_key: &[u8],
    credentials: &Credentials,
    now: Timestamp,
    life: Duration,
) -> Result<PublishedKey, CannotSign> {
    let mut row = PublishedKey {
        id: key_id(public_key),
        public_key: public_key.to_owned(),
        not_before: now,
        not_after: now.plus(life.min(KEY_LIFE)),
        certificate: credentials.leaf_der().to_vec(),
        signature: Vec::new(),
    };
    row.signature = credentials.sign_statement(PREFIX, &text(&row))?;
    Ok(row)
}

/// Returns the key of a row if the row counts at `now`.
pub(super) fn judged(
    row: &PublishedKey,
    credentials: &Credentials,
    now: Timestamp,
) -> Result<(String, DecodingKey), Discounted> {
    if row.public_key.len() != PUBLIC_KEY_BYTES || row.id != key_id(&row.public_key) {
        return Err(Discounted::Id);
    }
    let has_begun = row.not_before <= now.plus(MAX_AHEAD);
    let is_bounded = row.not_after <= row.not_before.plus(KEY_LIFE);
    if !has_begun || now > row.not_after || !is_bounded {
        return Err(Discounted::Validity);
    }
    let certificate = CertificateDer::from(row.certificate.as_slice());
    let names = PeerCertificate::from_der(&certificate, credentials.trust_domain());
    if !names.is_ok_and(|names| names.identity() == Identity::Market) {
        return Err(Discounted::NotAMarket);
    }
    if !statement::is_signed(&certificate, PREFIX, &text(row), &row.signature) {
        return Err(Discounted::Signature);
    }
    // Last, because it builds a verifier.
    if !credentials.accept(&certificate, now.into()) {
        return Err(Discounted::Certificate);
    }
    Ok((row.id.clone(), DecodingKey::from_ed_der(&row.public_key)))
}

/// Returns everything in a row but its signature. Each part of variable length follows its length, so that no two rows have
/// the same text.
fn text(row: &PublishedKey) -> Vec<u8> {
    let mut text = Vec::new();
    for part in [row.id.as_bytes(), &row.public_key, &row.certificate] {
        text.extend((part.len() as u64).to_be_bytes());
        text.extend(part);
    }
    text.extend(row.not_before.0.to_be_bytes());
    text.extend(row.not_after.0.to_be_bytes());
    text
}
