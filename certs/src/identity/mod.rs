//! Who a party is: a SPIFFE ID inside one trust domain, carried by its certificate.
//!
//! The grammar is closed: `spiffe://DOMAIN/market`, `/seller/UUID`, `/buyer/UUID` or `/operator/UUID`, and
//! nothing else. A UUID is written one way only (lower case, with hyphens), so that two spellings can never
//! name the same account. Reference: the SPIFFE ID standard, sections 2.1 to 2.3.

mod certificate;
mod domain;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use uuid::Uuid;

pub(crate) use certificate::canonical_serial;
pub use certificate::{CertificateError, PeerCertificate, thumbprint};
pub use domain::{TrustDomain, TrustDomainError};

/// What a party may be. The role is part of the identity: a seller and a buyer never share a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The server. There is one, and it has no UUID.
    Market,
    /// Offers items.
    Seller,
    /// Buys items.
    Buyer,
    /// Runs the market.
    Operator,
}

impl Role {
    /// Every role, in the order in which they are documented.
    pub const ALL: [Role; 4] = [Role::Market, Role::Seller, Role::Buyer, Role::Operator];

    /// The role's one spelling, as in the SPIFFE ID: `market`, `seller`, `buyer` or `operator`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Market => "market",
            Role::Seller => "seller",
            Role::Buyer => "buyer",
            Role::Operator => "operator",
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

/// One party's identity inside a trust domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// The market.
    Market,
    /// A seller, by its UUID.
    Seller(Uuid),
    /// A buyer, by its UUID.
    Buyer(Uuid),
    /// An operator, by its UUID.
    Operator(Uuid),
}

impl Identity {
    /// The identity of `role` and `uuid`. The market has no UUID: for [`Role::Market`] the second argument is
    /// ignored.
    #[must_use]
    pub const fn new(role: Role, uuid: Uuid) -> Self {
        match role {
            Role::Market => Identity::Market,
            Role::Seller => Identity::Seller(uuid),
            Role::Buyer => Identity::Buyer(uuid),
            Role::Operator => Identity::Operator(uuid),
        }
    }

    /// The role.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self {
            Identity::Market => Role::Market,
            Identity::Seller(_) => Role::Seller,
            Identity::Buyer(_) => Role::Buyer,
            Identity::Operator(_) => Role::Operator,
        }
    }

    /// The UUID, which every party but the market has.
    #[must_use]
    pub const fn uuid(&self) -> Option<Uuid> {
        match self {
            Identity::Market => None,
            Identity::Seller(uuid) | Identity::Buyer(uuid) | Identity::Operator(uuid) => Some(*uuid),
        }
    }

    /// The SPIFFE ID, e.g. `spiffe://souk.internal/seller/0197f0c2-…`; the leaf's only URI SAN.
    #[must_use]
    pub fn spiffe_id(&self, domain: &TrustDomain) -> String {
        match self.uuid() {
            None => format!("spiffe://{domain}/{}", self.role()),
            Some(uuid) => format!("spiffe://{domain}/{}/{}", self.role(), uuid.hyphenated()),
        }
    }

    /// The DNS name that the leaf carries and that a client sends as SNI, e.g. `market.souk.internal` or
    /// `UUID.seller.souk.internal`. It is a name for verification only and is never resolved.
    #[must_use]
    pub fn dns_name(&self, domain: &TrustDomain) -> String {
        match self.uuid() {
            None => format!("{}.{domain}", self.role()),
            Some(uuid) => format!("{}.{}.{domain}", uuid.hyphenated(), self.role()),
        }
    }

    /// Reads a SPIFFE ID of `domain`.
    ///
    /// # Errors
    /// Anything that [`Identity::spiffe_id`] would not have written for this domain: another domain, another
    /// scheme, an unknown role, a UUID in another spelling or the nil or max one, a trailing slash, a query,
    /// a fragment.
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
            (Role::Market, Some(_)) => Err(IdentityError::MarketWithUuid),
            (role, None) => Err(IdentityError::NoUuid { role }),
            (role, Some(uuid)) => Ok(Identity::new(role, uuid)),
        }
    }
}

/// Why a text is not the identity of a party.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Another URI scheme, or no path.
    #[error("'{uri}' is not a SPIFFE ID of the form spiffe://DOMAIN/ROLE/UUID")]
    NotSpiffe {
        /// What was found, cut to a printable length.
        uri: String,
    },
    /// The certificate comes from somewhere else, or the trust domain is set wrongly.
    #[error(
        "it belongs to the trust domain '{found}', not to '{expected}'; use a certificate of this market or set the trust domain"
    )]
    ForeignDomain {
        /// The domain in the SPIFFE ID.
        found: String,
        /// The domain that this program trusts.
        expected: TrustDomain,
    },
    /// The path names no role.
    #[error("'{role}' is no role; use market, seller, buyer or operator")]
    UnknownRole {
        /// What was found.
        role: String,
    },
    /// A role that needs a UUID has none.
    #[error("a {role} needs a UUID in its identity, as in {role}/UUID")]
    NoUuid {
        /// The role.
        role: Role,
    },
    /// The market has no UUID.
    #[error("the market's identity has no UUID")]
    MarketWithUuid,
    /// Not a UUID in its one accepted spelling.
    #[error("'{uuid}' is not a UUID in lower case with hyphens, other than all zeros and all ones")]
    BadUuid {
        /// What was found.
        uuid: String,
    },
}

/// Accepts one spelling only, and neither the nil nor the max UUID (RFC 9562 §5.9 and 5.10), which name
/// nobody.
fn canonical_uuid(text: &str) -> Result<Uuid, IdentityError> {
    Uuid::try_parse(text)
        .ok()
        .filter(|uuid| !uuid.is_nil() && !uuid.is_max() && uuid.hyphenated().to_string() == text)
        .ok_or_else(|| IdentityError::BadUuid { uuid: shown(text) })
}

/// Untrusted text for an error message: escaped and at most 80 characters.
fn shown(text: &str) -> String {
    const SHOWN_CHARS: usize = 80;
    text.chars().take(SHOWN_CHARS).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests;
