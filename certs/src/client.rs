//! TLS configuration of the dialling side: a party connecting to the market, or the market connecting to a
//! callback server.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls_pki_types::CertificateDer;

use crate::credentials::{Credentials, StaleLists};
use crate::server_rule::{ByRule, ServerRule};
use crate::tls::{ALPN_H2, TlsError, VERSIONS, provider};
use crate::verifier::LeafOnly;

/// Builds a configuration with TLS 1.3 only, ALPN `h2`, the credentials as client certificate, and no session
/// resumption.
///
/// The server's certificate must be signed by the authority and carry the requested DNS name; see
/// [`Identity::dns_name`](crate::identity::Identity::dns_name). Revocation is checked if the credentials
/// include a CRL. The server presents its leaf alone, or followed by a trusted root ([`ForeignChain`](crate::ForeignChain)).
///
/// # Errors
/// Returns an error if rustls rejects the credentials.
pub fn client_config(credentials: &Credentials) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider();
    let verifier = WebPkiServerVerifier::builder_with_provider(credentials.roots(), Arc::clone(&provider))
        .with_crls(credentials.crls().iter().cloned());
    let verifier = match credentials.stale_lists() {
        StaleLists::Warn => verifier.build()?,
        StaleLists::Refuse => verifier.enforce_revocation_expiration().build()?,
    };
    let rule = LeafOnly::new(verifier, credentials.root_certificates());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(VERSIONS)?
        // rustls calls every verifier of one's own dangerous. This one only refuses more than webpki's.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ByRule::new(Arc::new(rule), provider)))
        .with_client_auth_cert(credentials.chain(), credentials.key())?;
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    // A resumed session skips certificate verification, and with it the check against a newer CRL.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Builds a configuration that shows no certificate and leaves the judgement of the server's to `rule`: TLS 1.3 only, ALPN
/// `h2`, no session resumption.
///
/// For a party that does not have its certificate yet, or whose trust is out of date.
///
/// # Errors
/// Returns an error if rustls rejects the protocol version.
pub fn anonymous_config(rule: Arc<impl ServerRule + 'static>) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider();
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ByRule::new(rule, provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Builds the rule by which [`client_config`] judges server certificates, with one trusted root and no revocation list.
///
/// # Errors
/// Returns [`TlsError::Root`] if the certificate can't be a root.
pub fn anchored_rule(root: &CertificateDer<'static>) -> Result<impl ServerRule + use<>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).map_err(TlsError::Root)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
    Ok(LeafOnly::new(verifier, Arc::from([root.clone()])))
}

/// A client configuration that can be replaced at run time. A swap affects dials that start after it. Clones
/// share the configuration.
#[derive(Clone, Debug)]
pub struct ClientTls(Arc<ArcSwap<ClientConfig>>);

impl ClientTls {
    /// Builds the configuration from `credentials`.
    ///
    /// # Errors
    /// Returns the errors of [`client_config`].
    pub fn new(credentials: &Credentials) -> Result<Self, TlsError> {
        Ok(client_config(credentials)?.into())
    }

    /// Replaces the configuration with one built by [`client_config`]. Open connections keep the one they
    /// were opened with.
    pub fn swap(&self, config: Arc<ClientConfig>) {
        self.0.store(config);
    }

    /// Returns the current configuration.
    #[must_use]
    pub fn load(&self) -> Arc<ClientConfig> {
        self.0.load_full()
    }
}

impl From<Arc<ClientConfig>> for ClientTls {
    fn from(config: Arc<ClientConfig>) -> Self {
        ClientTls(Arc::new(ArcSwap::from(config)))
    }
}
