//! Judging a server's certificates by a rule of one's own. What does not depend on the rule, the signatures of the handshake,
//! is here once.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::{DigitallySignedStruct, Error, PeerIncompatible, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Decides whether a server's certificates are accepted. That the server holds the key of the first one is verified in any
/// case.
pub trait ServerRule: fmt::Debug + Send + Sync {
    /// Judges the server's own certificate, and those that it has sent after it. `name` is the one that the server was asked
    /// for, `now` the system's time.
    ///
    /// # Errors
    /// Returns why they are refused, as [`Error::InvalidCertificate`].
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        beside_leaf: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error>;
}

/// A rule in the form that rustls expects.
#[derive(Debug)]
pub(crate) struct ByRule<R> {
    rule: Arc<R>,
    provider: Arc<CryptoProvider>,
}

impl<R: ServerRule> ByRule<R> {
    pub(crate) fn new(rule: Arc<R>, provider: Arc<CryptoProvider>) -> Self {
        Self { rule, provider }
    }
}

impl<R: ServerRule> ServerCertVerifier for ByRule<R> {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        beside_leaf: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.rule.judge(leaf, beside_leaf, name, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
