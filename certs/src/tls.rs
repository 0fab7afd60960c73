//! Settings common to both sides of a connection: the crypto provider, the protocol version, ALPN, and the
//! error for an invalid configuration.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::VerifierBuilderError;
use thiserror::Error;

/// The only application protocol that is negotiated (RFC 9113 §3.2).
pub(crate) const ALPN_H2: &[u8] = b"h2";

/// TLS 1.3 only. Every peer is of this project or a current gRPC stack, so older versions would only add
/// attack surface.
pub(crate) const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// Why a TLS configuration could not be built from credentials.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The market has no CRL. A verifier with an empty list of CRLs checks nothing, so the market does not
    /// start without one.
    #[error(
        "the market needs a revocation list to check its clients against: put crl.pem beside its certificate (gen-certs.sh crl writes one)"
    )]
    NoCrl,
    /// rustls rejected the roots or the CRLs.
    #[error("the CA certificate or the CRL cannot be used: {0}")]
    Verifier(#[from] VerifierBuilderError),
    /// The certificate that is to be the only root can't be one.
    #[error("the CA certificate cannot be used")]
    Root(#[source] rustls::Error),
    /// rustls rejected the certificate, the key or the protocol version.
    #[error("the certificate or key cannot be used for TLS")]
    Rustls(#[from] rustls::Error),
}

/// Returns the aws-lc-rs provider. It is passed explicitly everywhere, so that no process-wide default has to
/// be installed, and another crate's default cannot change it.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
