//! The trust domain: the name that qualifies the identities of one authority.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The trust domain of [`TrustDomain::default`].
const DEFAULT: &str = "souk.internal";

/// Maximum length of a domain. The longest name below it is `UUID.operator.DOMAIN`, and a DNS name has at
/// most 253 characters (RFC 1035 §2.3.4).
const MAX_LENGTH: usize = 200;

/// Maximum length of a label of a DNS name (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// A trust domain, e.g. `souk.internal`: DNS labels in lower case, because identities also appear as DNS
/// names. At most 200 characters, so that every identity's DNS name fits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustDomain(String);

impl TrustDomain {
    /// Returns the domain as a lower-case DNS name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TrustDomain {
    fn default() -> Self {
        TrustDomain(DEFAULT.to_owned())
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = TrustDomainError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
        let valid = text.len() <= MAX_LENGTH
            && text.split('.').all(is_label)
            // With an all-digit last label, rustls may take the derived DNS names for IP addresses, which are
            // verified against other SANs.
            && !text.rsplit('.').next().is_some_and(numeric);
        if valid { Ok(TrustDomain(text.to_owned())) } else { Err(TrustDomainError) }
    }
}

impl TryFrom<String> for TrustDomain {
    type Error = TrustDomainError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TrustDomain> for String {
    fn from(domain: TrustDomain) -> Self {
        domain.0
    }
}

/// The text is not a valid trust domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a trust domain is a lower-case DNS name of at most 200 characters, such as souk.internal")]
pub struct TrustDomainError;

/// Returns whether the text is a DNS label: letters, digits and inner hyphens (RFC 1123 §2.1), lower case
/// only.
fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}
