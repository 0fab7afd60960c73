//! The index: which certificates the authority signed, for whom, and which of them it revoked. `index.json`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use souk_certs::identity::{Identity, Role, TrustDomain};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{PartyName, PkiError};
use crate::authority::{CRL_VALIDITY, Revocation};

/// The format of the file; another one is refused rather than guessed at.
const VERSION: u32 = 1;

/// The whole file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Index {
    version: u32,
    pub(super) trust_domain: TrustDomain,
    /// The number of the newest revocation list.
    pub(super) crl_number: u64,
    /// Every certificate that was signed, oldest first; a party's newest is the one in use.
    pub(super) certificates: Vec<Record>,
}

/// One signed certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) name: PartyName,
    pub(super) role: RoleName,
    /// Nil for the market.
    pub(super) uuid: Uuid,
    /// In hexadecimal.
    pub(super) serial: String,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) not_before: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) not_after: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option", default, skip_serializing_if = "Option::is_none")]
    pub(super) revoked: Option<OffsetDateTime>,
    /// Whether the key was made elsewhere and only its public half is known here.
    #[serde(default)]
    pub(super) key_elsewhere: bool,
    /// The names for foreign clients, kept for renewal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) dns: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) ip: Vec<IpAddr>,
}

/// A role by its name in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct RoleName(pub(super) Role);

impl TryFrom<String> for RoleName {
    type Error = souk_certs::identity::IdentityError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(RoleName)
    }
}

impl From<RoleName> for String {
    fn from(role: RoleName) -> Self {
        role.0.to_string()
    }
}

impl Record {
    pub(super) fn identity(&self) -> Identity {
        Identity::new(self.role.0, self.uuid)
    }
}

impl Index {
    pub(super) fn new(trust_domain: TrustDomain) -> Self {
        Index { version: VERSION, trust_domain, crl_number: 0, certificates: Vec::new() }
    }

    pub(super) fn parse(text: &str) -> Result<Self, PkiError> {
        let index: Index =
            serde_json::from_str(text).map_err(|error| PkiError::Index { reason: error.to_string() })?;
        if index.version == VERSION {
            return Ok(index);
        }
        Err(PkiError::Index {
            reason: format!("it has version {}, and this program knows {VERSION}", index.version),
        })
    }

    pub(super) fn to_json(&self) -> Result<String, PkiError> {
        serde_json::to_string_pretty(self).map_err(|error| PkiError::Index { reason: error.to_string() })
    }

    /// The newest certificate of a party.
    pub(super) fn current(&self, name: &PartyName) -> Option<&Record> {
        self.certificates.iter().rev().find(|record| record.name == *name)
    }

    /// The newest certificate of every party, in the order of their first ones.
    pub(super) fn parties(&self) -> Vec<&Record> {
        let mut names: Vec<&PartyName> = Vec::new();
        for record in &self.certificates {
            if !names.contains(&&record.name) {
                names.push(&record.name);
            }
        }
        names.into_iter().filter_map(|name| self.current(name)).collect()
    }

    /// Whom a UUID already belongs to.
    pub(super) fn holder(&self, uuid: Uuid) -> Option<&Record> {
        self.certificates.iter().rev().find(|record| record.uuid == uuid && record.role.0 != Role::Market)
    }

    /// Marks every certificate of a party that could still be used. Answers how many.
    pub(super) fn revoke(&mut self, name: &PartyName, now: OffsetDateTime) -> usize {
        let usable = |record: &&mut Record| {
            record.name == *name && record.revoked.is_none() && record.not_after >= now
        };
        self.certificates.iter_mut().filter(usable).map(|record| record.revoked = Some(now)).count()
    }

    /// What the next revocation list must name: the revoked certificates, until they have been expired for
    /// longer than a list is current (RFC 5280 §3.3 asks for at least one list after the expiry).
    pub(super) fn revocations(&self, now: OffsetDateTime) -> Result<Vec<Revocation>, PkiError> {
        const LISTED_AFTER_EXPIRY: Duration = CRL_VALIDITY;
        self.certificates
            .iter()
            .filter(|record| record.not_after + LISTED_AFTER_EXPIRY >= now)
            .filter_map(|record| record.revoked.map(|at| (record, at)))
            .map(|(record, at)| Ok(Revocation { serial: from_hex(&record.serial)?, at }))
            .collect()
    }
}

/// A serial number as it is written: lower-case hexadecimal.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Result<Vec<u8>, PkiError> {
    let bad = || PkiError::Index { reason: format!("'{}' is no serial number", text.escape_default()) };
    let digits = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !digits || text.is_empty() {
        return Err(bad());
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| bad()))
        .collect()
}
