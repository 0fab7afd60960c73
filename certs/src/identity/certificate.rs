//! What a leaf certificate says about its holder. Parsed once per connection; anything unexpected is a
//! refusal.

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{Identity, IdentityError, TrustDomain};

/// A leaf certificate's identity and the facts that access control needs. It says nothing about trust:
/// whether the certificate was signed by the authority is the TLS verifier's business.
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
    /// Reads a DER-encoded leaf.
    ///
    /// # Errors
    /// Bytes that are no certificate, a certificate of a CA, and one that has not exactly one URI SAN or
    /// whose URI SAN is not an identity of `domain`.
    pub fn from_der(der: &CertificateDer<'_>, domain: &TrustDomain) -> Result<Self, CertificateError> {
        let (rest, leaf) = X509Certificate::from_der(der).map_err(|_| CertificateError::NotX509)?;
        if !rest.is_empty() {
            return Err(CertificateError::NotX509);
        }
        if leaf.is_ca() {
            return Err(CertificateError::Authority);
        }
        let names = leaf.subject_alternative_name().map_err(|_| CertificateError::NotX509)?;
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

    /// Who holds it.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The identity as written in the certificate.
    #[must_use]
    pub fn spiffe_id(&self) -> &str {
        &self.spiffe_id
    }

    /// SHA-256 of the DER encoding: the `x5t#S256` that tokens are bound to (RFC 8705 §3.1).
    #[must_use]
    pub fn thumbprint(&self) -> &[u8; 32] {
        &self.thumbprint
    }

    /// The serial number, big-endian without leading zeros: comparable with
    /// [`Credentials::revoked_serials`](crate::credentials::Credentials::revoked_serials).
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The first second of validity.
    #[must_use]
    pub fn not_before(&self) -> OffsetDateTime {
        self.not_before
    }

    /// The last second of validity.
    #[must_use]
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// Whether `now` lies within the validity, both ends included (RFC 5280 §4.1.2.5).
    #[must_use]
    pub fn is_valid_at(&self, now: OffsetDateTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// SHA-256 of a certificate's DER encoding (RFC 8705 §3.1).
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
    /// The bytes don't parse.
    #[error("it is not a well-formed X.509 certificate")]
    NotX509,
    /// A CA's certificate was given where a party's belongs.
    #[error("it is the certificate of an authority, not of a party")]
    Authority,
    /// No URI SAN, or several: then it is not clear who this is.
    #[error("it must carry exactly one URI name, the party's SPIFFE ID; mint it with gen-certs.sh")]
    NotOneUri,
    /// The URI SAN is no identity of the trust domain.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// DER adds a zero byte in front of a number whose top bit is set; comparing needs one form.
pub(crate) fn canonical_serial(raw: &[u8]) -> Vec<u8> {
    raw.iter().copied().skip_while(|byte| *byte == 0).collect()
}
