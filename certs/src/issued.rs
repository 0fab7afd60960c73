//! Checking a certificate that was just received, before it is put to use.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;

use crate::credentials::unix_time;
use crate::identity::{CertificateError, PeerCertificate, TrustDomain};
use crate::tls::provider;
use crate::verifier::LeafOnly;

/// Checks that a certificate is for this key, was signed by one of the roots, is valid at `now`, and names a party of the
/// trust domain, with the verifier that a peer will use. Returns what it says.
///
/// # Errors
/// Returns what is wrong with it.
pub fn check_issued(
    certificate: &CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    roots: &[CertificateDer<'static>],
    domain: &TrustDomain,
    now: OffsetDateTime,
) -> Result<PeerCertificate, IssuedError> {
    let peer = PeerCertificate::from_der(certificate, domain)?;
    CertifiedKey::from_der(vec![certificate.clone()], key, &provider()).map_err(|_| IssuedError::OtherKey)?;
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).map_err(IssuedError::Signature)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider())
        .build()
        .map_err(|error| IssuedError::Signature(rustls::Error::General(error.to_string())))?;
    let verifier = LeafOnly::new(verifier, roots.into());
    rustls::server::danger::ClientCertVerifier::verify_client_cert(
        &verifier,
        certificate,
        &[],
        unix_time(now),
    )
    .map_err(IssuedError::Signature)?;
    Ok(peer)
}

/// Why a received certificate is not put to use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssuedError {
    /// It names no party of the trust domain.
    #[error(transparent)]
    Identity(#[from] CertificateError),
    /// It is for another key.
    #[error("it is for another key")]
    OtherKey,
    /// No trusted root has signed it, or it is not valid now.
    #[error("the authority's root does not verify it")]
    Signature(#[source] rustls::Error),
}
