//! The rules for a peer's certificates that rustls does not have: the chain is the leaf alone, and the leaf states
//! what it is for.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerifier as _};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::server_rule::ServerRule;

/// A peer presented certificates besides its leaf.
///
/// The authority signs leaves directly, so nobody needs an intermediate. webpki would search them for a path to a
/// root, and a peer that holds no valid certificate can choose them such that the search takes 100 ms of CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a peer presents its own certificate alone, or followed by the CA certificate; here others came with it"
)]
pub struct ForeignChain;

impl ForeignChain {
    /// Returns whether this is why a certificate was refused.
    #[must_use]
    pub fn is_cause(refusal: &CertificateError) -> bool {
        matches!(refusal, CertificateError::Other(OtherError(cause)) if cause.is::<ForeignChain>())
    }
}

/// What a leaf is used for in a handshake.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Client,
    Server,
}

/// A verifier of rustls behind these rules.
#[derive(Debug)]
pub(crate) struct LeafOnly<V> {
    verifier: V,
    roots: Arc<[CertificateDer<'static>]>,
}

impl<V> LeafOnly<V> {
    /// Puts the rules before `verifier`, which trusts `roots`.
    pub(crate) fn new(verifier: V, roots: Arc<[CertificateDer<'static>]>) -> Self {
        LeafOnly { verifier, roots }
    }

    /// Refuses every certificate after the leaf that is not byte for byte a trusted root. Many TLS stacks send the
    /// whole file, root included.
    fn check_chain(&self, beside_leaf: &[CertificateDer<'_>]) -> Result<(), Error> {
        if beside_leaf.iter().all(|certificate| self.roots.iter().any(|root| root == certificate)) {
            return Ok(());
        }
        Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(ForeignChain)))))
    }
}

/// Checks that the leaf has a key usage with digitalSignature (which TLS 1.3 needs, RFC 8446 §4.4.2.2) and an extended
/// key usage with the purpose. webpki accepts a leaf that has neither.
fn check_purpose(leaf: &CertificateDer<'_>, purpose: Purpose) -> Result<(), Error> {
    let refused = |refusal| Err(Error::InvalidCertificate(refusal));
    let Ok((_, leaf)) = X509Certificate::from_der(leaf) else {
        return refused(CertificateError::BadEncoding);
    };
    let signs = matches!(leaf.key_usage(), Ok(Some(usage)) if usage.value.digital_signature());
    let serves = matches!(leaf.extended_key_usage(), Ok(Some(usage)) if match purpose {
        Purpose::Client => usage.value.client_auth,
        Purpose::Server => usage.value.server_auth,
    });
    if signs && serves { Ok(()) } else { refused(CertificateError::InvalidPurpose) }
}

impl ClientCertVerifier for LeafOnly<Arc<dyn ClientCertVerifier>> {
    fn offer_client_auth(&self) -> bool {
        self.verifier.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        beside_leaf: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check_chain(beside_leaf)?;
        let verified = self.verifier.verify_client_cert(leaf, &[], now)?;
        check_purpose(leaf, Purpose::Client)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

impl ServerRule for LeafOnly<Arc<WebPkiServerVerifier>> {
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        beside_leaf: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        self.check_chain(beside_leaf)?;
        self.verifier.verify_server_cert(leaf, &[], name, &[], now)?;
        check_purpose(leaf, Purpose::Server)
    }
}
