//! The dialling side's TLS configuration: a party's towards the market, and the market's towards a callback
//! server.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::client::{Resumption, WebPkiServerVerifier};

use crate::credentials::{Credentials, StaleLists};
use crate::tls::{ALPN_H2, TlsError, VERSIONS, provider};

/// A configuration with TLS 1.3 only, ALPN `h2`, the credentials as client certificate, and no resumption.
///
/// The server must show a certificate of the authority that carries the DNS name asked for; see
/// [`Identity::dns_name`](crate::identity::Identity::dns_name). Its revocation is checked when the
/// credentials came with a CRL.
///
/// # Errors
/// When rustls refuses the credentials.
pub fn client_config(credentials: &Credentials) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider();
    let verifier = WebPkiServerVerifier::builder_with_provider(credentials.roots(), Arc::clone(&provider))
        .with_crls(credentials.crls().iter().cloned());
    let verifier = match credentials.stale_lists() {
        StaleLists::Warn => verifier.build()?,
        StaleLists::Refuse => verifier.enforce_revocation_expiration().build()?,
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(VERSIONS)?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(credentials.chain(), credentials.key())?;
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A configuration that may be replaced, for the dials that begin from then on. Clones share it.
#[derive(Clone, Debug)]
pub struct ClientTls(Arc<ArcSwap<ClientConfig>>);

impl ClientTls {
    /// That of some credentials.
    ///
    /// # Errors
    /// As [`client_config`].
    pub fn new(credentials: &Credentials) -> Result<Self, TlsError> {
        Ok(client_config(credentials)?.into())
    }

    /// Replaces it by one made by [`client_config`]. Open connections keep the one that they began with.
    pub fn swap(&self, config: Arc<ClientConfig>) {
        self.0.store(config);
    }

    /// The present one.
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
