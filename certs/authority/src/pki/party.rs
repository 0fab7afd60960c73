//! Names and views of the parties in the folder.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use souk_certs::credentials::CredentialFiles;
use souk_certs::identity::Identity;
use thiserror::Error;
use time::OffsetDateTime;

/// The longest name. It is also the certificate's common name, which has at most 64 characters.
const MAX_NAME: usize = 63;

/// Names whose files are the authority's own.
const RESERVED: [&str; 4] = ["ca", "crl", "token", "index"];

/// A party's name inside the folder: lower-case letters, digits and inner hyphens, at most 63 characters. It
/// names files and is shown to people; it is no identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PartyName(String);

impl PartyName {
    /// The name's text.
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

/// The text is no name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "'{name}' is not a name; use up to 63 lower-case letters, digits and inner hyphens, but not ca, crl, token or index"
)]
pub struct PartyNameError {
    /// What was given, escaped and cut.
    pub name: String,
}

/// A party as the index knows it, by its newest certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// Its name here.
    pub name: PartyName,
    /// Who it is.
    pub identity: Identity,
    /// The serial number, in hexadecimal.
    pub serial: String,
    /// The first second of validity.
    pub not_before: OffsetDateTime,
    /// The last second of validity.
    pub not_after: OffsetDateTime,
    /// When it was revoked.
    pub revoked: Option<OffsetDateTime>,
    /// The certificate's file.
    pub cert: PathBuf,
    /// The key's file, unless the key was made elsewhere.
    pub key: Option<PathBuf>,
}

impl Party {
    /// The files as [`Credentials::load`](souk_certs::credentials::Credentials::load) takes them.
    #[must_use]
    pub fn files(&self) -> CredentialFiles {
        CredentialFiles::beside(&self.cert)
    }

    /// Whether the certificate can be used at `now`.
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
    /// It can.
    Valid,
    /// Its time is over.
    Expired,
    /// It was revoked.
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
