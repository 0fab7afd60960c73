//! The accepting side's TLS configuration: the market's, and that of a party's callback server.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;

use crate::credentials::Credentials;
use crate::tls::{ALPN_H2, TlsError, VERSIONS, provider};

/// Which parties a server lets in. Every one must show a certificate of the authority that is not revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientPolicy {
    /// Any identity of the trust domain: the market.
    AnyParty,
    /// Only the market: a party's callback server.
    MarketOnly,
}

/// A configuration with TLS 1.3 only, ALPN `h2`, a client certificate required, and the credentials' CRLs
/// checked.
///
/// - Nothing is resumed, by ticket or otherwise: a resumed session would keep a certificate that a newer CRL
///   revokes.
/// - A certificate about which the CRLs say nothing, because no list of its issuer is there, is refused. With
///   several roots in `ca.pem`, `crl.pem` must therefore hold a list of each.
/// - A CRL past its `nextUpdate` goes on being used, unless the credentials say otherwise
///   ([`StaleLists`](crate::credentials::StaleLists)).
///
/// ALPN can't be enforced here against a client that offers none, and the identity is not looked at: both are
/// the [acceptor](crate::acceptor)'s work.
///
/// # Errors
/// [`TlsError::NoCrl`] for [`ClientPolicy::AnyParty`] without a CRL (rustls would then silently check
/// nothing), and otherwise when rustls refuses the credentials.
pub fn server_config(credentials: &Credentials, policy: ClientPolicy) -> Result<Arc<ServerConfig>, TlsError> {
    if policy == ClientPolicy::AnyParty && credentials.crls().is_empty() {
        return Err(TlsError::NoCrl);
    }
    let provider = provider();
    let verifier = credentials.verifier()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(VERSIONS)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(credentials.chain(), credentials.key())?;
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
