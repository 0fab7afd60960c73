//! Parsing a leaf certificate into the facts about its holder. This happens once per connection and fails
//! closed: anything unexpected is an error.

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{Identity, IdentityError, TrustDomain};

/// A leaf certificate's identity and the facts that access control needs.
///
/// It says nothing about trust: the TLS verifier decides whether the authority signed the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    identity: Identity,
    spiffe_id: String,
    thumbprint: [u8; 32],
    serial: Vec<u8>,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

impl PeerCertificate {
    /// Parses a DER-encoded leaf.
    ///
    /// # Errors
    /// Returns an error if the bytes are not exactly one certificate, if it is a CA certificate, or if it
    /// does not have exactly one URI SAN that is an identity of `domain`.
    pub fn from_der(der: &CertificateDer<'_>, domain: &TrustDomain) -> Result<Self, CertificateError> {
        let (rest, leaf) = X509Certificate::from_der(der).map_err(|_| CertificateError::NotX509)?;
        if !rest.is_empty() {
            return Err(CertificateError::NotX509);
        }
        if leaf.is_ca() {
            return Err(CertificateError::Authority);
        }
        let names = leaf.subject_alternative_name().map_err(|_| CertificateError::NotX509)?;
        // A second URI would make the identity ambiguous (the SPIFFE X.509-SVID standard forbids it, section
        // 2).
        let mut uris =
            names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            });
        let (Some(uri), None) = (uris.next(), uris.next()) else { return Err(CertificateError::NotOneUri) };
        Ok(PeerCertificate {
            identity: Identity::parse(uri, domain)?,
            spiffe_id: uri.to_owned(),
            thumbprint: thumbprint(der),
            serial: canonical_serial(leaf.raw_serial()),
            not_before: leaf.validity().not_before.to_datetime(),
            not_after: leaf.validity().not_after.to_datetime(),
        })
    }

    /// Returns the identity of the certificate's holder.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Returns the SPIFFE ID as written in the certificate.
    #[must_use]
    pub fn spiffe_id(&self) -> &str {
        &self.spiffe_id
    }

    /// Returns the SHA-256 of the DER encoding: the `x5t#S256` to which tokens are bound (RFC 8705 §3.1).
    #[must_use]
    pub fn thumbprint(&self) -> &[u8; 32] {
        &self.thumbprint
    }

    /// Returns the serial number, big-endian without leading zeros, comparable with
    /// [`Credentials::revoked_serials`](crate::credentials::Credentials::revoked_serials).
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// Returns the first second of validity (`notBefore`).
    #[must_use]
    pub fn not_before(&self) -> OffsetDateTime {
        self.not_before
    }

    /// Returns the last second of validity (`notAfter`).
    #[must_use]
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// Returns whether `now` is within the validity, both ends included (RFC 5280 §4.1.2.5).
    #[must_use]
    pub fn is_valid_at(&self, now: OffsetDateTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// Returns the SHA-256 of a certificate's DER encoding (RFC 8705 §3.1).
#[must_use]
pub fn thumbprint(der: &CertificateDer<'_>) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
    bytes
}

/// Why a certificate names no party.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The bytes are not exactly one well-formed certificate.
    #[error("it is not a well-formed X.509 certificate")]
    NotX509,
    /// The certificate is a CA's, where a party's is required.
    #[error("it is the certificate of an authority, not of a party")]
    Authority,
    /// The certificate has no URI SAN, or several, so that its identity is ambiguous.
    #[error("it must carry exactly one URI name, the party's SPIFFE ID; create it with gen-certs.sh")]
    NotOneUri,
    /// The URI SAN is not an identity of the trust domain.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Strips leading zeros from a DER-encoded serial number. DER prepends a zero byte if the top bit is set, so
/// the raw bytes of equal numbers from different encoders may differ.
pub(crate) fn canonical_serial(raw: &[u8]) -> Vec<u8> {
    raw.iter().copied().skip_while(|byte| *byte == 0).collect()
}
