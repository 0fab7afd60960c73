//! What both sides of a connection share: the crypto provider, the protocol, and the error of a bad
//! configuration.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::VerifierBuilderError;
use thiserror::Error;

/// The only application protocol that is spoken (RFC 9113 §3.2).
pub(crate) const ALPN_H2: &[u8] = b"h2";

/// The only protocol version that is spoken.
pub(crate) const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// Why credentials could not be turned into a TLS configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A verifier over an empty list of CRLs checks nothing, so the market refuses to start without one.
    #[error(
        "the market needs a revocation list to check its clients against: put crl.pem beside its certificate (gen-certs.sh crl writes one)"
    )]
    NoCrl,
    /// The roots or the CRLs were refused.
    #[error("the CA certificate or the CRL cannot be used: {0}")]
    Verifier(#[from] VerifierBuilderError),
    /// The certificate, key or protocol version was refused.
    #[error("the certificate or key cannot be used for TLS")]
    Rustls(#[from] rustls::Error),
}

/// aws-lc-rs, the one crypto back end of the tree.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
