//! Certificate signing requests (PKCS#10, RFC 2986), for a party that generates its key itself, so that the
//! key never leaves its machine.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use rcgen::PublicKeyData;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use souk_certs::identity::Identity;
use souk_certs::pem;
use time::OffsetDateTime;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::{Authority, AuthorityError, Issued, LeafOptions};

impl Authority {
    /// Signs a leaf for the public key of a signing request in PEM.
    ///
    /// Everything else in the request is ignored, including names, key usages, a CA flag and other
    /// extensions. The leaf has the same profile as one from [`Authority::issue`].
    ///
    /// # Errors
    /// Returns the errors of [`Authority::issue`], [`AuthorityError::Request`] if the text is not a request,
    /// [`AuthorityError::RequestKey`] if the key is not P-256, and [`AuthorityError::RequestSignature`] if
    /// the request is not signed with that key.
    pub fn sign_csr(
        &self,
        request_pem: &str,
        identity: &Identity,
        options: &LeafOptions,
        now: OffsetDateTime,
    ) -> Result<Issued, AuthorityError> {
        pem::check(request_pem.as_bytes())
            .map_err(|problem| AuthorityError::Pem { file: "the signing request", problem })?;
        let der = CertificateSigningRequestDer::from_pem_slice(request_pem.as_bytes())
            .map_err(|_| AuthorityError::Request)?;
        self.sign(identity, &ProvenKey::of(&der)?, options, now)
    }
}

/// A P-256 public key whose holder has proven possession of the private key.
#[derive(Debug)]
pub(crate) struct ProvenKey {
    key: rcgen::SubjectPublicKeyInfo,
    sha256: String,
}

impl ProvenKey {
    /// Returns the request's public key after verifying the request's signature, which proves that the sender
    /// holds the private key.
    ///
    /// This doesn't use rcgen's parser, because that rejects requests with extensions that it doesn't know. They
    /// are ignored here in any case.
    pub(crate) fn of(der: &[u8]) -> Result<Self, AuthorityError> {
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| AuthorityError::Request)?;
        if !rest.is_empty() {
            return Err(AuthorityError::Request);
        }
        let info = &request.certification_request_info.subject_pki;
        let key = rcgen::SubjectPublicKeyInfo::from_der(info.raw).map_err(|_| AuthorityError::RequestKey)?;
        if key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(AuthorityError::RequestKey);
        }
        request.verify_signature().map_err(|_| AuthorityError::RequestSignature)?;
        let sha256 = HEXLOWER.encode(digest(&SHA256, info.raw).as_ref());
        Ok(ProvenKey { key, sha256 })
    }

    /// Returns the SHA-256 of the SubjectPublicKeyInfo, in lower-case hexadecimal.
    pub(crate) fn sha256(&self) -> &str {
        &self.sha256
    }
}

impl PublicKeyData for ProvenKey {
    fn der_bytes(&self) -> &[u8] {
        self.key.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.key.algorithm()
    }
}
