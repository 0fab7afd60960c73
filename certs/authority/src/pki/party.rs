//! The parties in the folder and their names.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use souk_certs::credentials::CredentialFiles;
use souk_certs::identity::Identity;
use thiserror::Error;
use time::OffsetDateTime;

/// Maximum length of a name. It is also the certificate's common name, which is limited to 64 characters.
const MAX_NAME: usize = 63;

/// Names that would collide with the authority's own files.
const RESERVED: [&str; 4] = ["ca", "crl", "token", "index"];

/// A party's name in the folder: lower-case letters, digits and inner hyphens, at most 63 characters. It
/// names files and is shown to people; it is not the party's identity. The restricted alphabet also keeps a
/// name from being a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PartyName(String);

impl PartyName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PartyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for PartyName {
    type Err = PartyNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = (1..=MAX_NAME).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-')
            && !RESERVED.contains(&text);
        let shown = || text.chars().take(MAX_NAME).flat_map(char::escape_default).collect();
        if valid { Ok(PartyName(text.to_owned())) } else { Err(PartyNameError { name: shown() }) }
    }
}

impl TryFrom<String> for PartyName {
    type Error = PartyNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PartyName> for String {
    fn from(name: PartyName) -> Self {
        name.0
    }
}

/// The text is not a valid party name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "'{name}' is not a name; use up to 63 lower-case letters, digits and inner hyphens, but not ca, crl, token or index"
)]
pub struct PartyNameError {
    /// The rejected text, escaped and truncated.
    pub name: String,
}

/// A party and its newest certificate, as recorded in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// The name, by which the other methods find the party.
    pub name: PartyName,
    /// The identity in the certificate.
    pub identity: Identity,
    /// The serial number in lower-case hexadecimal.
    pub serial: String,
    /// The first second of the certificate's validity.
    pub not_before: OffsetDateTime,
    /// The last second of the certificate's validity.
    pub not_after: OffsetDateTime,
    /// The time of revocation. `None` if the certificate is not revoked.
    pub revoked: Option<OffsetDateTime>,
    /// Path of the certificate.
    pub cert: PathBuf,
    /// Path of the private key. `None` if the key is on another machine.
    pub key: Option<PathBuf>,
}

impl Party {
    /// Returns the paths to pass to [`Credentials::load`](souk_certs::credentials::Credentials::load).
    #[must_use]
    pub fn files(&self) -> CredentialFiles {
        CredentialFiles::beside(&self.cert)
    }

    /// Returns whether the certificate can be used at `now`. A revoked certificate is reported as revoked
    /// even after it has expired.
    #[must_use]
    pub fn status(&self, now: OffsetDateTime) -> Status {
        if self.revoked.is_some() {
            Status::Revoked
        } else if now > self.not_after {
            Status::Expired
        } else {
            Status::Valid
        }
    }
}

/// Whether a certificate can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Neither expired nor revoked.
    Valid,
    /// Past its `notAfter`, and not revoked.
    Expired,
    /// On the revocation list, whether expired or not.
    Revoked,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Status::Valid => "valid",
            Status::Expired => "expired",
            Status::Revoked => "revoked",
        })
    }
}
