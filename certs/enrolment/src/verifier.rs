//! The verifier for the connection on which an invitation is redeemed.
//!
//! A newcomer trusts no root yet. The invitation code names one by its hash, and the authority sends that root in its
//! handshake, after its own certificate. So the verifier accepts exactly two certificates, checks the second one against
//! the hash, makes it the only trust anchor, and leaves everything else to webpki: signature, name, purpose, validity.
//! The hash is thus checked inside the handshake, before anything of the invitation is sent.
//!
//! No other certificate ever reaches webpki: a search for a path through certificates that a stranger has chosen can
//! take long.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, PeerIncompatible, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use souk_certs::client::anchored_verifier;
use souk_certs::identity::{Identity, PeerCertificate, TrustDomain};
use thiserror::Error as ThisError;

use crate::code::RootPin;

/// Verifies that the server is the authority whose root an invitation code names.
#[derive(Debug)]
pub struct PinnedVerifier {
    pin: RootPin,
    domain: TrustDomain,
    provider: CryptoProvider,
    root: OnceLock<CertificateDer<'static>>,
}

impl PinnedVerifier {
    /// Creates a verifier for the authority of `domain` with this root.
    #[must_use]
    pub fn new(pin: RootPin, domain: TrustDomain) -> Self {
        PinnedVerifier { pin, domain, provider: aws_lc_rs::default_provider(), root: OnceLock::new() }
    }

    /// Returns the root with the pinned hash, once a server has proved to be the authority by it.
    #[must_use]
    pub fn root(&self) -> Option<&CertificateDer<'static>> {
        self.root.get()
    }
}

/// The server did not prove to be the authority that the invitation code names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum NotTheAuthority {
    /// The server sent more or fewer certificates than its own and the root.
    #[error("it must send its certificate and the root, and nothing else")]
    Chain,
    /// The root is another one.
    #[error("its root is not the one that the invitation code names")]
    Root,
    /// The certificate belongs to a party, or to another trust domain.
    #[error("its certificate is not an authority's")]
    Identity,
}

impl NotTheAuthority {
    /// Returns whether this is why a certificate was refused, and how.
    #[must_use]
    pub fn cause(refusal: &CertificateError) -> Option<Self> {
        match refusal {
            CertificateError::Other(OtherError(cause)) => cause.downcast_ref().copied(),
            _ => None,
        }
    }
}

impl From<NotTheAuthority> for Error {
    fn from(cause: NotTheAuthority) -> Self {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(cause))))
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        beside_leaf: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let [root] = beside_leaf else { return Err(NotTheAuthority::Chain.into()) };
        if RootPin::of(root) != self.pin {
            return Err(NotTheAuthority::Root.into());
        }
        let root = root.clone().into_owned();
        let verifier = anchored_verifier(&root).map_err(|_| NotTheAuthority::Root)?;
        let verified = verifier.verify_server_cert(leaf, &[], name, ocsp_response, now)?;
        // webpki has compared the DNS name. The SPIFFE ID is the identity.
        match PeerCertificate::from_der(leaf, &self.domain) {
            Ok(peer) if peer.identity() == Identity::Authority => {}
            _ => return Err(NotTheAuthority::Identity.into()),
        }
        // Fails only if it is set, and then it is the same root.
        let _ = self.root.set(root);
        Ok(verified)
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
