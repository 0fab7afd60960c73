//! Identities of parties: SPIFFE IDs in one trust domain, carried by certificates.
//!
//! The accepted forms are `spiffe://DOMAIN/market`, `/authority`, `/seller/UUID`, `/buyer/UUID` and
//! `/operator/UUID`, and no others. A UUID has only one accepted spelling (lower case, with hyphens), so that two different strings
//! never name the same account. See the SPIFFE ID standard, sections 2.1 to 2.3.

mod certificate;
mod domain;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use uuid::Uuid;

pub(crate) use certificate::canonical_serial;
pub use certificate::{CertificateError, PeerCertificate, thumbprint};
pub use domain::{TrustDomain, TrustDomainError};

/// The role of a party. It is part of the identity: a seller and a buyer never share a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The server. It has no UUID: all replicas of a market share one identity.
    Market,
    /// A party that offers items and ships orders.
    Seller,
    /// A party that searches for items and orders them.
    Buyer,
    /// A party that administers the market, e.g. suspends accounts.
    Operator,
    /// The enrolment service of the authority, which issues certificates. It has no UUID, and no market admits it.
    Authority,
}

impl Role {
    /// All roles, in declaration order.
    pub const ALL: [Role; 5] = [Role::Market, Role::Seller, Role::Buyer, Role::Operator, Role::Authority];

    /// Returns the role as spelled in the SPIFFE ID: `market`, `seller`, `buyer`, `operator` or `authority`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Market => "market",
            Role::Seller => "seller",
            Role::Buyer => "buyer",
            Role::Operator => "operator",
            Role::Authority => "authority",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Role::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| IdentityError::UnknownRole { role: shown(text) })
    }
}

/// The identity of one party within a trust domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// The market, of which there is one per trust domain.
    Market,
    /// A seller, by its UUID.
    Seller(Uuid),
    /// A buyer, by its UUID.
    Buyer(Uuid),
    /// An operator, by its UUID.
    Operator(Uuid),
    /// The enrolment service of the authority.
    Authority,
}

impl Identity {
    /// Creates the identity of `role` with `uuid`. The market and the authority have no UUID: for [`Role::Market`]
    /// and [`Role::Authority`], `uuid` is ignored.
    #[must_use]
    pub const fn new(role: Role, uuid: Uuid) -> Self {
        match role {
            Role::Market => Identity::Market,
            Role::Seller => Identity::Seller(uuid),
            Role::Buyer => Identity::Buyer(uuid),
            Role::Operator => Identity::Operator(uuid),
            Role::Authority => Identity::Authority,
        }
    }

    /// Returns the role part of the identity.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self {
            Identity::Market => Role::Market,
            Identity::Seller(_) => Role::Seller,
            Identity::Buyer(_) => Role::Buyer,
            Identity::Operator(_) => Role::Operator,
            Identity::Authority => Role::Authority,
        }
    }

    /// Returns the UUID, or `None` for the market and the authority.
    #[must_use]
    pub const fn uuid(&self) -> Option<Uuid> {
        match self {
            Identity::Market | Identity::Authority => None,
            Identity::Seller(uuid) | Identity::Buyer(uuid) | Identity::Operator(uuid) => Some(*uuid),
        }
    }

    /// Returns the SPIFFE ID, e.g. `spiffe://souk.internal/seller/0197f0c2-…`: the leaf's only URI SAN.
    #[must_use]
    pub fn spiffe_id(&self, domain: &TrustDomain) -> String {
        match self.uuid() {
            None => format!("spiffe://{domain}/{}", self.role()),
            Some(uuid) => format!("spiffe://{domain}/{}/{}", self.role(), uuid.hyphenated()),
        }
    }

    /// Returns the DNS name that the leaf carries and that a client sends as SNI, e.g. `market.souk.internal`
    /// or `UUID.seller.souk.internal`. It is used for verification only and is never resolved.
    #[must_use]
    pub fn dns_name(&self, domain: &TrustDomain) -> String {
        match self.uuid() {
            None => format!("{}.{domain}", self.role()),
            Some(uuid) => format!("{}.{}.{domain}", uuid.hyphenated(), self.role()),
        }
    }

    /// Parses a SPIFFE ID of `domain`.
    ///
    /// # Errors
    /// Returns an error for any text that [`Identity::spiffe_id`] does not produce for this domain: another
    /// domain or scheme, an unknown role, a UUID in another spelling, the nil or max UUID, a trailing slash,
    /// a query or a fragment.
    pub fn parse(spiffe_id: &str, domain: &TrustDomain) -> Result<Self, IdentityError> {
        let rest = spiffe_id
            .strip_prefix("spiffe://")
            .ok_or_else(|| IdentityError::NotSpiffe { uri: shown(spiffe_id) })?;
        let (authority, path) =
            rest.split_once('/').ok_or_else(|| IdentityError::NotSpiffe { uri: shown(spiffe_id) })?;
        if authority != domain.as_str() {
            return Err(IdentityError::ForeignDomain { found: shown(authority), expected: domain.clone() });
        }
        let (role, uuid) = match path.split_once('/') {
            None => (Role::from_str(path)?, None),
            Some((role, uuid)) => (Role::from_str(role)?, Some(canonical_uuid(uuid)?)),
        };
        match (role, uuid) {
            (Role::Market, None) => Ok(Identity::Market),
            (Role::Authority, None) => Ok(Identity::Authority),
            (role @ (Role::Market | Role::Authority), Some(_)) => Err(IdentityError::NeedlessUuid { role }),
            (role, None) => Err(IdentityError::NoUuid { role }),
            (role, Some(uuid)) => Ok(Identity::new(role, uuid)),
        }
    }
}

/// Why a text is not the SPIFFE ID of a party.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The URI has another scheme, or no path.
    #[error("'{uri}' is not a SPIFFE ID of the form spiffe://DOMAIN/ROLE/UUID")]
    NotSpiffe {
        /// The rejected URI, escaped and truncated to 80 characters.
        uri: String,
    },
    /// The certificate belongs to another market, or the trust domain is misconfigured.
    #[error(
        "it belongs to the trust domain '{found}', not to '{expected}'; use a certificate of this market or set the trust domain"
    )]
    ForeignDomain {
        /// The domain in the SPIFFE ID, escaped and truncated to 80 characters.
        found: String,
        /// The trust domain of this program.
        expected: TrustDomain,
    },
    /// The path does not start with a role.
    #[error("'{role}' is not a role; use market, seller, buyer, operator or authority")]
    UnknownRole {
        /// The rejected text, escaped and truncated to 80 characters.
        role: String,
    },
    /// The UUID is missing, for a role that requires one.
    #[error("a {role} needs a UUID in its identity, as in {role}/UUID")]
    NoUuid {
        /// The role in the SPIFFE ID; neither the market nor the authority.
        role: Role,
    },
    /// The identity of the market or the authority is followed by a UUID, which it must not have.
    #[error("the {role}'s identity has no UUID")]
    NeedlessUuid {
        /// The role in the SPIFFE ID: the market or the authority.
        role: Role,
    },
    /// The UUID is malformed, in another spelling, or the nil or max UUID.
    #[error("'{uuid}' is not a UUID in lower case with hyphens, other than all zeros and all ones")]
    BadUuid {
        /// The rejected text, escaped and truncated to 80 characters.
        uuid: String,
    },
}

/// Parses a UUID in its canonical spelling. Rejects the nil and max UUIDs (RFC 9562 §5.9 and 5.10), which
/// mean "none" and identify no party.
fn canonical_uuid(text: &str) -> Result<Uuid, IdentityError> {
    Uuid::try_parse(text)
        .ok()
        .filter(|uuid| !uuid.is_nil() && !uuid.is_max() && uuid.hyphenated().to_string() == text)
        .ok_or_else(|| IdentityError::BadUuid { uuid: shown(text) })
}

/// Prepares untrusted text for an error message: escapes it and truncates it to 80 characters, so that it can
/// neither control a terminal nor flood a log.
fn shown(text: &str) -> String {
    const SHOWN_CHARS: usize = 80;
    text.chars().take(SHOWN_CHARS).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests;
