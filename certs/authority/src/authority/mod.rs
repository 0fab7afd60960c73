//! The authority: a root key (P-256, path length 0) that signs leaf certificates and revocation lists. It
//! does no file I/O; that is in [`crate::pki`].
//!
//! Every certificate is built from explicit parameters. rcgen's defaults are unsuitable: validity from 1975
//! to 4096, a fixed common name, a serial derived from the key, and no authority key identifier. From a
//! signing request, only the public key is used, because rcgen would otherwise copy the names, key usages and
//! CA flag that the requester chose.

mod leaf;
mod request;
mod revocation;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use souk_certs::identity::{CertificateError, TrustDomain};
use souk_certs::pem::{self, PemError};
use souk_certs::random;
use thiserror::Error;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509Certificate};

pub use leaf::{Issued, LEAF_VALIDITY, LeafOptions};
pub use revocation::{CRL_VALIDITY, Revocation};

/// Validity of a root: ten years.
pub const ROOT_VALIDITY: Duration = Duration::days(3652);

/// How far before `now` validity starts, so that a peer whose clock is slightly behind accepts a new
/// certificate.
pub(crate) const BACKDATE: Duration = Duration::minutes(5);

/// The end marker of a certificate in PEM (RFC 7468 §5.1).
const PEM_END: &str = "-----END CERTIFICATE-----";

/// Length of a random serial number in bytes. It holds 126 random bits, more than the 64 that the CA/Browser
/// Forum requires, and is within the 20 bytes of RFC 5280 §4.1.2.2.
const SERIAL_LENGTH: usize = 16;

/// The root certificate and its private key, for one trust domain.
pub struct Authority {
    domain: TrustDomain,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    not_after: OffsetDateTime,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Creates a new root: P-256, path length 0, key usage limited to signing certificates and CRLs, valid
    /// from five minutes before `now` until ten years after it.
    ///
    /// # Errors
    /// Returns [`AuthorityError::Random`] or [`AuthorityError::Sign`] if random number generation or signing
    /// fails.
    pub fn create(domain: &TrustDomain, now: OffsetDateTime) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(AuthorityError::Sign)?;
        let mut params = CertificateParams::default();
        params.not_before = whole_second(now - BACKDATE);
        params.not_after = whole_second(now + ROOT_VALIDITY);
        let serial = random_serial();
        // Each root gets a distinct subject. While two roots are trusted, verifiers match a CRL to its root
        // by that name.
        let id: String = serial.to_bytes().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        params.serial_number = Some(serial);
        params.distinguished_name = common_name(&format!("Souk authority {id} of {domain}"));
        // Path length 0: the root signs leaves only. An intermediate would be one more key that can
        // impersonate every party.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(AuthorityError::Sign)?;
        Self::assemble(domain, certificate.der().clone(), certificate.pem(), key)
    }

    /// Loads an existing root from PEM. If `certificate_pem` contains several certificates, the first is
    /// used: during a change of root, `ca.pem` has the signing root first.
    ///
    /// # Errors
    /// Returns [`AuthorityError::Certificate`] if the text is not a CA certificate, [`AuthorityError::Key`]
    /// if the key does not parse, and [`AuthorityError::KeyMismatch`] if the key is not the certificate's.
    pub fn load(domain: &TrustDomain, certificate_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        for (file, text) in [("ca.pem", certificate_pem), ("ca.key", key_pem)] {
            pem::check(text.as_bytes()).map_err(|problem| AuthorityError::Pem { file, problem })?;
        }
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|_| AuthorityError::Certificate)?;
        let key = KeyPair::from_pem(key_pem).map_err(|_| AuthorityError::Key)?;
        let end = certificate_pem.find(PEM_END).map_or(certificate_pem.len(), |at| at + PEM_END.len());
        let first = format!("{}\n", &certificate_pem[..end]);
        Self::assemble(domain, certificate, first, key)
    }

    fn assemble(
        domain: &TrustDomain,
        certificate: CertificateDer<'static>,
        certificate_pem: String,
        key: KeyPair,
    ) -> Result<Self, AuthorityError> {
        let (_, root) = X509Certificate::from_der(&certificate).map_err(|_| AuthorityError::Certificate)?;
        if !root.is_ca() {
            return Err(AuthorityError::Certificate);
        }
        if root.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(AuthorityError::KeyMismatch);
        }
        let not_after = root.validity().not_after.to_datetime();
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|_| AuthorityError::Certificate)?;
        Ok(Authority { domain: domain.clone(), certificate, certificate_pem, not_after, issuer })
    }

    /// Returns the trust domain of the identities that it signs.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// Returns the root certificate in PEM, as written to `ca.pem`.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Returns the root certificate in DER.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Returns the root's last second of validity (`notAfter`). No leaf is valid longer.
    #[must_use]
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// Returns the root's private key in PKCS#8 PEM, as written to `ca.key`. Its holder can impersonate every
    /// party.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }
}

/// Omits the private key.
impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("domain", &self.domain)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Why the authority could not be created, loaded or used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The root's certificate doesn't parse, or is a leaf.
    #[error(
        "the CA certificate is not one; restore ca.pem from a backup or start over with gen-certs.sh init --force"
    )]
    Certificate,
    /// A file contains a block that would be skipped.
    #[error("{file}: {problem}")]
    Pem {
        /// Which file.
        file: &'static str,
        /// The line and what is wrong with it.
        problem: PemError,
    },
    /// The root's private key doesn't parse.
    #[error(
        "the CA key is not a private key in PEM; restore ca.key from a backup or start over with gen-certs.sh init --force"
    )]
    Key,
    /// The private key does not match the root certificate.
    #[error(
        "the CA key does not belong to the CA certificate; restore ca.pem and ca.key from the same backup"
    )]
    KeyMismatch,
    /// The root has expired, so that no peer would accept what it signs.
    #[error("the CA expired on {not_after}; start over with gen-certs.sh init --force")]
    Expired {
        /// The root's last second of validity.
        not_after: OffsetDateTime,
    },
    /// A requested DNS name is malformed.
    #[error("'{name}' is not a DNS name")]
    DnsName {
        /// The rejected name, escaped.
        name: String,
    },
    /// The signing request doesn't parse.
    #[error(
        "it is not a certificate signing request in PEM; create one with: openssl req -new -key NAME.key -subj /CN=NAME"
    )]
    Request,
    /// The signing request is not signed with the key in it, so its sender has not proven possession of that
    /// key.
    #[error("the signing request is not signed with its own key; create it again")]
    RequestSignature,
    /// The request's public key is not a P-256 key.
    #[error(
        "the signing request's key is not a P-256 key; create one with: openssl ecparam -name prime256v1 -genkey -noout"
    )]
    RequestKey,
    /// The new certificate does not parse back as the requested identity.
    #[error("the new certificate does not parse back as the requested identity")]
    Unreadable(#[from] CertificateError),
    /// The operating system's random number generator failed.
    #[error("the system's random number generator failed")]
    Random,
    /// Encoding or signing a certificate or a list failed.
    #[error("the certificate could not be signed")]
    Sign(#[source] rcgen::Error),
}

/// Returns a subject that consists of a common name, truncated to the maximum length. It is for people
/// reading the certificate; the identity is the URI SAN.
fn common_name(name: &str) -> DistinguishedName {
    /// `ub-common-name` of RFC 5280, appendix A.1.
    const MAX_CHARS: usize = 64;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name.chars().take(MAX_CHARS).collect::<String>());
    subject
}

/// Returns a random positive serial number of exactly [`SERIAL_LENGTH`] bytes. The top bit is clear, because
/// DER would otherwise prepend a zero byte; the next bit is set, so that there are no leading zeros.
fn random_serial() -> rcgen::SerialNumber {
    let mut bytes = random::bytes::<SERIAL_LENGTH>();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    rcgen::SerialNumber::from_slice(&bytes)
}

/// Truncates a time to whole seconds, the resolution of times in certificates.
fn whole_second(time: OffsetDateTime) -> OffsetDateTime {
    time.replace_nanosecond(0).unwrap_or(time)
}

#[cfg(test)]
mod tests;
