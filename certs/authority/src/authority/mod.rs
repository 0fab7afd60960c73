//! The authority: one root key (P-256, path length 0) that signs leaves and revocation lists. It touches no
//! files; the folder around it is [`crate::pki`].
//!
//! Every certificate is built from scratch here. rcgen's defaults (valid from 1975 to 4096, a fixed common
//! name, a serial derived from the key, no authority key identifier) are all replaced, and of a signing
//! request nothing is used but its public key.

mod leaf;
mod request;
mod revocation;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use souk_certs::identity::{CertificateError, TrustDomain};
use souk_certs::random;
use thiserror::Error;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509Certificate};

pub use leaf::{Issued, LEAF_VALIDITY, LeafOptions};
pub use revocation::{CRL_VALIDITY, Revocation};

/// How long a root is valid: ten years, in days.
pub const ROOT_VALIDITY: Duration = Duration::days(3652);

/// How far validity begins in the past, so that a peer whose clock is a little behind accepts a fresh
/// certificate.
pub(crate) const BACKDATE: Duration = Duration::minutes(5);

/// The last line of a certificate in PEM (RFC 7468 §5.1).
const PEM_END: &str = "-----END CERTIFICATE-----";

/// Length of a random serial number in bytes: 126 random bits, more than the 64 that CAs must use, and within
/// the 20 bytes of RFC 5280 §4.1.2.2.
const SERIAL_LENGTH: usize = 16;

/// The root: its certificate and its key, for one trust domain.
pub struct Authority {
    domain: TrustDomain,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    not_after: OffsetDateTime,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new root: P-256, path length 0, key usage certificate and CRL signing only, valid ten years
    /// from five minutes before `now`.
    ///
    /// # Errors
    /// [`AuthorityError::Random`] or [`AuthorityError::Sign`] when the system's randomness or the signature
    /// fails.
    pub fn create(domain: &TrustDomain, now: OffsetDateTime) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(AuthorityError::Sign)?;
        let mut params = CertificateParams::default();
        params.not_before = whole_second(now - BACKDATE);
        params.not_after = whole_second(now + ROOT_VALIDITY);
        let serial = random_serial();
        // A name of its own for each root, so that a revocation list finds its root where two are trusted.
        let id: String = serial.to_bytes().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        params.serial_number = Some(serial);
        params.distinguished_name = common_name(&format!("Souk authority {id} of {domain}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(AuthorityError::Sign)?;
        Self::assemble(domain, certificate.der().clone(), certificate.pem(), key)
    }

    /// Takes up an existing root from its PEM texts; of several certificates, the first.
    ///
    /// # Errors
    /// [`AuthorityError::Certificate`] for a text that is no CA certificate, [`AuthorityError::Key`] for one
    /// that is no private key, [`AuthorityError::KeyMismatch`] when the two don't belong together.
    pub fn load(domain: &TrustDomain, certificate_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
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

    /// The trust domain of the identities that it signs.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// The root certificate, as every party needs it (`ca.pem`).
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The root certificate in DER.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The root's last second of validity. No leaf outlives it.
    #[must_use]
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// The root's private key as PKCS#8 PEM (`ca.key`). Whoever holds it can be anyone.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }
}

/// Without the key.
impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("domain", &self.domain)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Why the authority could not be made, taken up, or used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The root's certificate doesn't parse, or is a leaf.
    #[error(
        "the CA certificate is not one; restore ca.pem from a backup or start anew with gen-certs.sh init --force"
    )]
    Certificate,
    /// The root's key doesn't parse.
    #[error(
        "the CA key is no private key in PEM; restore ca.key from a backup or start anew with gen-certs.sh init --force"
    )]
    Key,
    /// Certificate and key are of different roots.
    #[error(
        "the CA key does not belong to the CA certificate; restore ca.pem and ca.key from the same backup"
    )]
    KeyMismatch,
    /// The root has expired, so nothing that it signed would be accepted.
    #[error("the CA expired on {not_after}; start anew with gen-certs.sh init --force")]
    Expired {
        /// Its last second.
        not_after: OffsetDateTime,
    },
    /// A DNS name asked for is not one.
    #[error("'{name}' is not a DNS name")]
    DnsName {
        /// What was asked for.
        name: String,
    },
    /// The signing request doesn't parse.
    #[error(
        "it is not a certificate signing request in PEM; make one with: openssl req -new -key NAME.key -subj /CN=NAME"
    )]
    Request,
    /// The signing request is not signed by the key in it, so its sender need not hold that key.
    #[error("the signing request is not signed by its own key; make it again")]
    RequestSignature,
    /// The request's key is of another kind than the profile's.
    #[error(
        "the signing request's key is not a P-256 one; make one with: openssl ecparam -name prime256v1 -genkey -noout"
    )]
    RequestKey,
    /// The certificate that was just made doesn't read back as asked.
    #[error("the new certificate is not as it should be")]
    Unreadable(#[from] CertificateError),
    /// The system gave no randomness.
    #[error("the system's random number generator failed")]
    Random,
    /// Encoding or signing failed.
    #[error("the certificate could not be signed")]
    Sign(#[source] rcgen::Error),
}

/// A subject of nothing but a common name, cut to its longest. It is for people reading a certificate;
/// identity is the URI SAN.
fn common_name(name: &str) -> DistinguishedName {
    /// `ub-common-name` of RFC 5280, appendix A.1.
    const MAX_CHARS: usize = 64;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name.chars().take(MAX_CHARS).collect::<String>());
    subject
}

/// A positive serial number of exactly [`SERIAL_LENGTH`] bytes: the top bit clear (or DER would add a byte),
/// the next set.
fn random_serial() -> rcgen::SerialNumber {
    let mut bytes = random::bytes::<SERIAL_LENGTH>();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    rcgen::SerialNumber::from_slice(&bytes)
}

/// Certificates have a resolution of one second.
fn whole_second(time: OffsetDateTime) -> OffsetDateTime {
    time.replace_nanosecond(0).unwrap_or(time)
}

#[cfg(test)]
mod tests;
