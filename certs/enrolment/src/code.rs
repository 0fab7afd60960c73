//! Invitation codes: one word that a newcomer pastes, such as `souk1ae3k…`, of about 100 characters.
//!
//! After the prefix follow, in lower-case base32 without padding (RFC 4648 §6):
//!
//! | bytes | contents |
//! |---|---|
//! | 1 | the version, 1 |
//! | 8 | the invitation's id |
//! | 16 | its secret |
//! | 16 | the first half of the SHA-256 of the authority's root certificate (DER) |
//! | 1 + n | the authority's `HOST:PORT`, after its length |
//! | 1 + n | the trust domain, after its length; empty for the default domain |
//! | 4 | the first bytes of the SHA-256 of all bytes before, which reveal a typing error |
//!
//! The root's hash makes the code sufficient: its holder can verify the authority before the secret is sent.
//! 128 bits withstand a second preimage; a collision is of no use, because the authority chooses the root.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE32_NOPAD_NOCASE;
use rustls_pki_types::CertificateDer;
use souk_certs::connector::{Dial, DialAddressError};
use souk_certs::identity::{TrustDomain, TrustDomainError};
use thiserror::Error;

/// What every code begins with.
pub const PREFIX: &str = "souk1";

/// Length of an invitation's id in bytes.
pub const ID_BYTES: usize = 8;
/// Length of an invitation's secret in bytes.
pub const SECRET_BYTES: usize = 16;
/// Length of the part of the root's hash that a code contains, in bytes.
pub const PIN_BYTES: usize = 16;

/// Maximum length of a code in characters: that of the longest address and trust domain, with room for line breaks
/// that a mail program has put in.
const MAX_CHARACTERS: usize = 1024;

const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;

/// The id of an invitation. It is no secret; the authority's log contains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InvitationId(pub [u8; ID_BYTES]);

impl fmt::Display for InvitationId {
    /// Writes 16 hexadecimal digits in lower case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl FromStr for InvitationId {
    type Err = InvitationIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes =
            data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| InvitationIdError)?;
        bytes.try_into().map(InvitationId).map_err(|_| InvitationIdError)
    }
}

/// The text is no invitation's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an invitation's id has 16 hexadecimal digits, as `gen-certs invitations` lists it")]
pub struct InvitationIdError;

/// The secret of an invitation. It is neither printed nor compared by `==`, whose duration depends on the bytes.
#[derive(Clone)]
pub struct Secret([u8; SECRET_BYTES]);

impl Secret {
    /// Creates a secret from bytes, which must be random.
    #[must_use]
    pub const fn new(bytes: [u8; SECRET_BYTES]) -> Self {
        Secret(bytes)
    }

    /// Returns the bytes, to be sent to the authority.
    #[must_use]
    pub const fn reveal(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The first half of the SHA-256 of a root certificate in DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootPin([u8; PIN_BYTES]);

impl RootPin {
    /// Returns the pin of a root.
    #[must_use]
    pub fn of(root: &CertificateDer<'_>) -> Self {
        let mut pin = [0; PIN_BYTES];
        pin.copy_from_slice(&digest(&SHA256, root).as_ref()[..PIN_BYTES]);
        RootPin(pin)
    }
}

/// What an invitation code says.
#[derive(Clone, Debug)]
pub struct InvitationCode {
    id: InvitationId,
    secret: Secret,
    root: RootPin,
    authority: Dial,
    trust_domain: TrustDomain,
}

impl InvitationCode {
    /// Creates a code.
    ///
    /// # Errors
    /// Returns [`CodeError::TooLong`] if the address has more than 255 characters.
    pub fn new(
        id: InvitationId,
        secret: Secret,
        root: RootPin,
        authority: Dial,
        trust_domain: TrustDomain,
    ) -> Result<Self, CodeError> {
        // A trust domain has at most 200 characters.
        if authority.to_string().len() > usize::from(u8::MAX) {
            return Err(CodeError::TooLong);
        }
        Ok(InvitationCode { id, secret, root, authority, trust_domain })
    }

    /// Returns the invitation's id.
    #[must_use]
    pub fn id(&self) -> InvitationId {
        self.id
    }

    /// Returns the invitation's secret.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Returns what identifies the authority's root certificate.
    #[must_use]
    pub fn root(&self) -> RootPin {
        self.root
    }

    /// Returns the address of the authority's enrolment service.
    #[must_use]
    pub fn authority(&self) -> &Dial {
        &self.authority
    }

    /// Returns the trust domain of the identities that the authority issues.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Returns the code as one word. It contains the secret, so it is shown to nobody but the person who asked for it.
    #[must_use]
    pub fn reveal(&self) -> String {
        let domain = match &self.trust_domain {
            domain if *domain == TrustDomain::default() => "",
            domain => domain.as_str(),
        };
        let mut bytes = vec![VERSION];
        bytes.extend(self.id.0);
        bytes.extend(self.secret.0);
        bytes.extend(self.root.0);
        for text in [self.authority.to_string().as_str(), domain] {
            // Fits: `new` has checked the address, and `TrustDomain` its length.
            bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            bytes.extend(text.as_bytes());
        }
        let sum = checksum(&bytes);
        bytes.extend(sum);
        format!("{PREFIX}{}", BASE32_NOPAD_NOCASE.encode(&bytes).to_ascii_lowercase())
    }
}

impl FromStr for InvitationCode {
    type Err = CodeError;

    /// Decodes a code. White space in it is ignored, because mail programs break long words, and so is the case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_CHARACTERS {
            return Err(CodeError::NotACode);
        }
        let text: String = text.chars().filter(|character| !character.is_ascii_whitespace()).collect();
        let text = text.to_ascii_lowercase();
        let encoded = text.strip_prefix(PREFIX).ok_or(CodeError::NotACode)?;
        let bytes = BASE32_NOPAD_NOCASE.decode(encoded.as_bytes()).map_err(|_| CodeError::Damaged)?;
        let (bytes, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(CodeError::Damaged)?;
        if *sum != checksum(bytes) {
            return Err(CodeError::Damaged);
        }
        // The checksum is right, so whatever is wrong from here on was made that way.
        let mut rest = Reader(bytes);
        let [version] = rest.take()?;
        if version != VERSION {
            return Err(CodeError::Version { version });
        }
        let (id, secret, root) = (rest.take()?, rest.take()?, rest.take()?);
        let (authority, domain) = (rest.text()?, rest.text()?);
        if !rest.0.is_empty() {
            return Err(CodeError::Damaged);
        }
        let trust_domain = if domain.is_empty() { TrustDomain::default() } else { domain.parse()? };
        InvitationCode::new(InvitationId(id), Secret(secret), RootPin(root), authority.parse()?, trust_domain)
    }
}

/// Why a text is not an invitation code. The text itself is not part of the error: it may contain the secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodeError {
    /// The text does not begin like a code, or is far too long.
    #[error("this is no invitation code: one begins with `souk1`; copy the whole word")]
    NotACode,
    /// Characters are missing or wrong.
    #[error("the invitation code is damaged: a character is missing or wrong; copy the whole word again")]
    Damaged,
    /// The code is of a later version of the program.
    #[error("the invitation code has version {version}, and this program knows 1; update the program")]
    Version {
        /// The version in the code.
        version: u8,
    },
    /// The address is too long for a code.
    #[error("the authority's address is too long for an invitation code: HOST:PORT may have 255 characters")]
    TooLong,
    /// The address of the authority can't be parsed.
    #[error("the invitation code has an unusable address")]
    Address(#[from] DialAddressError),
    /// The trust domain can't be parsed.
    #[error("the invitation code has an unusable trust domain")]
    TrustDomain(#[from] TrustDomainError),
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&digest(&SHA256, bytes).as_ref()[..CHECKSUM_BYTES]);
    sum
}

/// The bytes that are not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], CodeError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(CodeError::Damaged)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// Reads a text after its length.
    fn text(&mut self) -> Result<&'a str, CodeError> {
        let [length] = self.take()?;
        let (text, rest) = self.0.split_at_checked(usize::from(length)).ok_or(CodeError::Damaged)?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| CodeError::Damaged)
    }
}

#[cfg(test)]
mod tests;
