//! `index.json`: the certificates that the authority has signed, for which parties, and which are revoked.

use std::collections::HashMap;
use std::net::IpAddr;

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Serialize};
use souk_certs::credentials::RENEWAL_GRACE;
use souk_certs::identity::{Identity, Role, TrustDomain};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{PartyName, PkiError};
use crate::authority::{CRL_VALIDITY, Revocation};

/// Format version of the file. Version 1 lacks the fields for enrolment, and is read too. Others are rejected.
const VERSION: u32 = 2;
/// The oldest version that is read.
const OLDEST: u32 = 1;

/// How long after its end a certificate that was revoked stays on the lists.
const LISTED_AFTER_EXPIRY: Duration = Duration::days(2 * CRL_VALIDITY.whole_days());

/// The contents of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Index {
    version: u32,
    pub(super) trust_domain: TrustDomain,
    /// The number of the newest revocation list. Never decreases.
    pub(super) crl_number: u64,
    /// The sequence of the newest trust bundle. Never decreases.
    #[serde(default)]
    pub(super) trust_sequence: i64,
    /// The sequence at which the chain of trust bundles begins.
    #[serde(default)]
    pub(super) trust_floor: i64,
    /// Every certificate that was signed, oldest first. The last one of a party is its current one.
    pub(super) certificates: Vec<Record>,
}

/// The record of a signed certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) name: PartyName,
    pub(super) role: RoleName,
    /// The nil UUID for markets and the authority.
    pub(super) uuid: Uuid,
    /// The serial number in lower-case hexadecimal, without leading zero bytes.
    pub(super) serial: String,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) not_before: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) not_after: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option", default, skip_serializing_if = "Option::is_none")]
    pub(super) revoked: Option<OffsetDateTime>,
    /// Whether the private key is on another machine, because the certificate was made from a signing
    /// request.
    #[serde(default)]
    pub(super) key_elsewhere: bool,
    /// The SHA-256 of the public key in lower-case hexadecimal, if the certificate was asked for over the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key_sha256: Option<String>,
    /// Additional DNS names of the certificate, kept so that a renewal has them too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) dns: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) ip: Vec<IpAddr>,
}

/// A role, serialized by its name.
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
        Index {
            version: VERSION,
            trust_domain,
            crl_number: 0,
            trust_sequence: 0,
            trust_floor: 0,
            certificates: Vec::new(),
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, PkiError> {
        let index: Index =
            serde_json::from_str(text).map_err(|error| PkiError::Index { reason: error.to_string() })?;
        if (OLDEST..=VERSION).contains(&index.version) {
            return Ok(Index { version: VERSION, ..index });
        }
        Err(PkiError::Index {
            reason: format!("it has version {}, and this program knows {VERSION}", index.version),
        })
    }

    /// Drops certificates that ended so long ago that nothing depends on them any more, except the newest of each party: so
    /// the file does not grow without bound.
    pub(super) fn prune(&mut self, now: OffsetDateTime) {
        let mut newest = HashMap::new();
        for (at, record) in self.certificates.iter().enumerate() {
            newest.insert(record.name.clone(), at);
        }
        let mut at = 0;
        self.certificates.retain(|record| {
            at += 1;
            record.not_after + LISTED_AFTER_EXPIRY >= now || newest.get(&record.name) == Some(&(at - 1))
        });
    }

    pub(super) fn to_json(&self) -> Result<String, PkiError> {
        serde_json::to_string_pretty(self).map_err(|error| PkiError::Index { reason: error.to_string() })
    }

    /// Returns the newest certificate of a party.
    pub(super) fn current(&self, name: &PartyName) -> Option<&Record> {
        self.certificates.iter().rev().find(|record| record.name == *name)
    }

    /// Returns the newest certificate of every party, ordered by the parties' first certificates.
    pub(super) fn parties(&self) -> Vec<&Record> {
        let mut names: Vec<&PartyName> = Vec::new();
        for record in &self.certificates {
            if !names.contains(&&record.name) {
                names.push(&record.name);
            }
        }
        names.into_iter().filter_map(|name| self.current(name)).collect()
    }

    /// Returns the newest certificate with a UUID, of a party that has one.
    pub(super) fn holder(&self, uuid: Uuid) -> Option<&Record> {
        let has_uuid = |role| !matches!(role, Role::Market | Role::Authority);
        self.certificates.iter().rev().find(|record| record.uuid == uuid && has_uuid(record.role.0))
    }

    /// Marks every certificate of a party as revoked that is not yet and could still be used or renewed. Returns how many.
    pub(super) fn revoke(&mut self, name: &PartyName, now: OffsetDateTime) -> usize {
        let usable = |record: &&mut Record| {
            record.name == *name && record.revoked.is_none() && record.not_after + RENEWAL_GRACE >= now
        };
        self.certificates.iter_mut().filter(usable).map(|record| record.revoked = Some(now)).count()
    }

    /// Returns the entries of the next revocation list. A revoked certificate stays on the list for as long after its end
    /// as it could be renewed, and then for as long as a list is current (RFC 5280 §3.3 requires at least one list after
    /// that); then it is dropped, so that lists don't grow without bound.
    pub(super) fn revocations(&self, now: OffsetDateTime) -> Result<Vec<Revocation>, PkiError> {
        self.certificates
            .iter()
            .filter(|record| record.not_after + LISTED_AFTER_EXPIRY >= now)
            .filter_map(|record| record.revoked.map(|at| (record, at)))
            .map(|(record, at)| Ok(Revocation { serial: from_hex(&record.serial)?, at }))
            .collect()
    }
}

fn from_hex(text: &str) -> Result<Vec<u8>, PkiError> {
    let decoded = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok().filter(|serial| !serial.is_empty());
    decoded.ok_or_else(|| PkiError::Index {
        reason: format!("'{}' is not a serial number", text.escape_default()),
    })
}
