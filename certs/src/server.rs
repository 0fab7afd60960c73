//! TLS configuration of the accepting side: the market's, and that of a party's callback server.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;

use crate::credentials::{Credentials, Presence, RENEWAL_GRACE, RetiredRoot};
use crate::lenient::Lenient;
use crate::tls::{ALPN_H2, TlsError, VERSIONS, provider};

/// Which parties a server admits. In both cases the certificate must be signed by the authority, valid and
/// not revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientPolicy {
    /// Any identity of the trust domain; used by the market.
    AnyParty,
    /// Only the market; used by a party's callback server.
    MarketOnly,
}

/// Builds a configuration with TLS 1.3 only, ALPN `h2`, a mandatory client certificate, and revocation checks
/// against the credentials' CRLs.
///
/// - Session resumption is disabled, stateful and by ticket: a resumed session would keep a certificate
///   that a newer CRL revokes.
/// - A certificate whose issuer has no CRL is rejected. With several roots in `ca.pem`, `crl.pem` must
///   therefore hold a list for each of them.
/// - A client presents its leaf alone, or followed by a trusted root ([`ForeignChain`](crate::ForeignChain)). Its leaf
///   must have the key usage digitalSignature and the extended key usage clientAuth.
/// - A CRL past its `nextUpdate` remains in use unless the credentials say otherwise
///   ([`StaleLists`](crate::credentials::StaleLists)).
///
/// rustls accepts a client that offers no ALPN at all, and it does not know about SPIFFE IDs. The
/// [acceptor](crate::acceptor) checks both after the handshake.
///
/// # Errors
/// Returns [`TlsError::NoCrl`] for [`ClientPolicy::AnyParty`] without a CRL (with an empty list rustls
/// silently checks nothing), and other variants if rustls rejects the credentials.
pub fn server_config(credentials: &Credentials, policy: ClientPolicy) -> Result<Arc<ServerConfig>, TlsError> {
    if policy == ClientPolicy::AnyParty && credentials.crls().is_empty() {
        return Err(TlsError::NoCrl);
    }
    build(credentials, credentials.verifier(Presence::Required, &[])?)
}

/// Builds the configuration of an authority's enrolment service. It differs from [`server_config`] in that a client may
/// show no certificate, because it comes for one, and that a certificate which ended at most [`RENEWAL_GRACE`] ago is
/// judged as of its last second, so that it can be renewed. So are those of `retired` roots, which a party may have that
/// was away while the root changed. The service must refuse both for everything else.
///
/// The certificate file of the credentials must contain the leaf and the root that signed it: a client that joins knows
/// the root only by its hash.
///
/// # Errors
/// Returns [`TlsError::NoCrl`] without a revocation list, and other variants if rustls rejects the credentials.
pub fn enrolment_config(
    credentials: &Credentials,
    retired: &[RetiredRoot],
) -> Result<Arc<ServerConfig>, TlsError> {
    if credentials.crls().is_empty() {
        return Err(TlsError::NoCrl);
    }
    let verifier = credentials.verifier(Presence::Optional, retired)?;
    build(credentials, Arc::new(Lenient { verifier, grace: RENEWAL_GRACE }))
}

fn build(
    credentials: &Credentials,
    verifier: Arc<dyn ClientCertVerifier>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(credentials.chain(), credentials.key())?;
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    // Either setting prevents resumption in TLS 1.3. Both are set, so that a change of one default does not
    // bring it back.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
