//! Signing requests (PKCS#10, RFC 2986): for a party that makes its own key, which then never leaves its
//! machine.

use rcgen::PublicKeyData;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use souk_certs::identity::Identity;
use time::OffsetDateTime;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::{Authority, AuthorityError, Issued, LeafOptions};

impl Authority {
    /// Signs a leaf for the public key of a signing request in PEM. Nothing else is taken from the request:
    /// names, usages, a CA flag or any other extension in it are ignored, and the leaf is exactly as
    /// [`Authority::issue`] makes it.
    ///
    /// # Errors
    /// Besides those of [`Authority::issue`]: [`AuthorityError::Request`] for a text that is no request,
    /// [`AuthorityError::RequestKey`] for a key that is not P-256, [`AuthorityError::RequestSignature`] when
    /// the request is not signed by that key.
    pub fn sign_csr(
        &self,
        request_pem: &str,
        identity: &Identity,
        options: &LeafOptions,
        now: OffsetDateTime,
    ) -> Result<Issued, AuthorityError> {
        let der = CertificateSigningRequestDer::from_pem_slice(request_pem.as_bytes())
            .map_err(|_| AuthorityError::Request)?;
        self.sign(identity, &proven_key(&der)?, options, now)
    }
}

/// The request's public key, once its holder has shown to have the private one.
///
/// Not rcgen's own parser: that one refuses requests with extensions that it doesn't know, which are ignored
/// here anyway.
fn proven_key(der: &CertificateSigningRequestDer<'_>) -> Result<P256Key, AuthorityError> {
    let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| AuthorityError::Request)?;
    if !rest.is_empty() {
        return Err(AuthorityError::Request);
    }
    let key = &request.certification_request_info.subject_pki;
    let spki = rcgen::SubjectPublicKeyInfo::from_der(key.raw).map_err(|_| AuthorityError::RequestKey)?;
    if spki.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
        return Err(AuthorityError::RequestKey);
    }
    request.verify_signature().map_err(|_| AuthorityError::RequestSignature)?;
    Ok(P256Key(spki))
}

/// A public key whose possession was proven.
struct P256Key(rcgen::SubjectPublicKeyInfo);

impl PublicKeyData for P256Key {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.0.algorithm()
    }
}
