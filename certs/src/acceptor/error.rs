//! Why connections are rejected.

use thiserror::Error;

use crate::identity::{CertificateError, Identity};
use crate::verifier::ForeignChain;

/// Why a connection was rejected. The peer learns no more than the TLS alert reveals.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// No handshake permit became available within the handshake timeout.
    #[error("too many handshakes are in progress")]
    Busy,
    /// [`AcceptorLimits::connections`](super::AcceptorLimits::connections) connections are already open.
    #[error("the limit on open connections is reached")]
    Full,
    /// The party already has as many open connections as
    /// [`AcceptorLimits::connections_of_party`](super::AcceptorLimits::connections_of_party) allows.
    #[error("this {} has reached its limit of open connections", identity.role())]
    TooManyOfOne {
        /// The party that reached its limit.
        identity: Identity,
    },
    /// The configuration was replaced during the handshake; the peer may retry at once.
    #[error("the configuration changed during the handshake")]
    Overtaken,
    /// The socket failed before the handshake.
    #[error("the connection broke before its handshake")]
    Socket(#[source] std::io::Error),
    /// The handshake failed. If rustls rejected it, e.g. because of a revoked certificate, the source wraps a
    /// [`rustls::Error`].
    #[error("the handshake failed")]
    Handshake(#[source] std::io::Error),
    /// The handshake did not finish within [`AcceptorLimits::handshake_timeout`](super::AcceptorLimits::handshake_timeout).
    #[error("the handshake timed out")]
    Timeout,
    /// ALPN did not select HTTP/2: the peer did not offer it.
    #[error("the peer did not negotiate h2")]
    NotH2,
    /// The peer presented no certificate, which is possible only if the configuration does not require one.
    #[error("the peer presented no certificate")]
    NoCertificate,
    /// The certificate is trusted by TLS but does not name exactly one party of the trust domain.
    #[error("the peer's certificate was rejected")]
    Certificate(#[from] CertificateError),
    /// A party other than the market connected to a callback server
    /// ([`ClientPolicy::MarketOnly`](crate::server::ClientPolicy::MarketOnly)).
    #[error("only the market may connect here, and the peer is a {}", identity.role())]
    NotTheMarket {
        /// The party that connected.
        identity: Identity,
    },
}

impl AcceptError {
    /// Returns whether the peer is the cause, rather than the load or the state of this program.
    #[must_use]
    pub fn is_of_peer(&self) -> bool {
        !matches!(
            self,
            AcceptError::Busy | AcceptError::Full | AcceptError::Overtaken | AcceptError::Socket(_)
        )
    }

    /// Returns why the peer's certificate was rejected, or `None` if the connection failed for another
    /// reason. The texts are fixed, so that a rejected peer can't inject text into logs.
    #[must_use]
    pub fn about_identity(&self) -> Option<&'static str> {
        match self {
            AcceptError::Handshake(error) => about_certificate(error.get_ref()?.downcast_ref()?),
            AcceptError::Certificate(_) => Some("the certificate names no party of this market"),
            AcceptError::NoCertificate => Some("no certificate"),
            AcceptError::NotTheMarket { .. } => Some("not the market's certificate"),
            _ => None,
        }
    }
}

fn about_certificate(error: &rustls::Error) -> Option<&'static str> {
    use rustls::CertificateError as Bad;
    let bad = match error {
        rustls::Error::NoCertificatesPresented => return Some("no certificate"),
        rustls::Error::InvalidCertificate(bad) => bad,
        _ => return None,
    };
    Some(match bad {
        Bad::Expired | Bad::ExpiredContext { .. } => "the certificate has expired",
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => "the certificate is not valid yet",
        Bad::Revoked => "the certificate was revoked",
        Bad::UnknownIssuer => "the certificate was issued by another authority",
        Bad::BadSignature => "the certificate's signature is invalid",
        Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => "the certificate is for another purpose",
        Bad::UnknownRevocationStatus => "no revocation list covers the certificate",
        Bad::ExpiredRevocationList | Bad::ExpiredRevocationListContext { .. } => {
            "the revocation list is out of date"
        }
        other if ForeignChain::is_cause(other) => "it came with certificates besides the leaf",
        _ => "the certificate is not valid",
    })
}
