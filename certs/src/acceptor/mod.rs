//! The accepting end: from a TCP connection to a party that is known by its certificate.
//!
//! tonic's own server TLS knows neither revocation lists nor a change of configuration, bounds neither the
//! number nor the time of handshakes, and leaves the peer's identity to every call. Here a connection reaches
//! tonic only once its handshake is done, its protocol is `h2`, and its certificate names a party that the
//! policy lets in.

mod connection;
mod incoming;
mod peer;
mod registry;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::identity::{CertificateError, Identity, PeerCertificate, TrustDomain};
use crate::server::ClientPolicy;
use crate::tls::ALPN_H2;

use connection::Counted;
pub use connection::TlsConnection;
pub use incoming::incoming;
pub use peer::PeerInfo;
use registry::{Full, Registry};

/// Handshakes in progress at a time, unless set otherwise.
pub const HANDSHAKES: usize = 256;

/// The time that one handshake may take, unless set otherwise.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Open connections, unless set otherwise.
pub const CONNECTIONS: usize = 16_384;

/// Open connections of one party, unless set otherwise.
pub const CONNECTIONS_OF_PARTY: usize = 64;

/// How long a refused client is given to read why, and how much it may still send meanwhile.
const LINGER: Duration = Duration::from_millis(250);
const LINGER_BYTES: u64 = 64 * 1024;

/// What bounds an [`Acceptor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptorLimits {
    /// How many may be in progress at a time, over all clones of the acceptor. At least one.
    pub handshakes: usize,
    /// The time from the accepted TCP connection to a finished handshake, waiting for a place included.
    pub handshake_timeout: Duration,
    /// How many connections may be open.
    pub connections: usize,
    /// How many of them may be one party's.
    pub connections_of_party: usize,
}

impl Default for AcceptorLimits {
    fn default() -> Self {
        AcceptorLimits {
            handshakes: HANDSHAKES,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            connections: CONNECTIONS,
            connections_of_party: CONNECTIONS_OF_PARTY,
        }
    }
}

/// Takes TLS connections under one configuration and policy. Clones share everything.
#[derive(Clone)]
pub struct Acceptor {
    shared: Arc<Shared>,
}

struct Shared {
    config: ArcSwap<ServerConfig>,
    domain: TrustDomain,
    policy: ClientPolicy,
    limits: AcceptorLimits,
    slots: Arc<Semaphore>,
    open: Arc<Registry>,
    handshaking: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor")
            .field("policy", &self.shared.policy)
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

/// A place among the handshakes in progress, free again when dropped.
#[derive(Debug)]
pub struct HandshakeSlot {
    _permit: OwnedSemaphorePermit,
}

impl Acceptor {
    /// An acceptor for a configuration made by [`server_config`](crate::server::server_config) with the same
    /// policy.
    #[must_use]
    pub fn new(
        config: Arc<ServerConfig>,
        domain: TrustDomain,
        policy: ClientPolicy,
        limits: AcceptorLimits,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(limits.handshakes.clamp(1, Semaphore::MAX_PERMITS)));
        let config = ArcSwap::from(config);
        Acceptor {
            shared: Arc::new(Shared {
                config,
                domain,
                policy,
                limits,
                slots,
                open: Arc::default(),
                handshaking: Arc::default(),
            }),
        }
    }

    /// Replaces the configuration, whole, for the handshakes that begin from now on. Those in progress and
    /// the open connections keep the one that they began with.
    pub fn swap(&self, config: Arc<ServerConfig>) {
        self.shared.config.store(config);
    }

    /// How many connections are open: accepted and not yet dropped.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.open.len()
    }

    /// Ends, at once, the open connections for which `is_over` says so by who is at the other end and by the
    /// leaf that it showed. What is under way on them is lost, as by a broken network. Answers their peers.
    pub fn cut(&self, is_over: impl Fn(&PeerInfo, &CertificateDer<'static>) -> bool) -> Vec<PeerInfo> {
        self.shared.open.cut(is_over)
    }

    /// How many handshakes are in progress, at most [`AcceptorLimits::handshakes`].
    #[must_use]
    pub fn handshakes(&self) -> usize {
        self.shared.handshaking.load(Ordering::Relaxed)
    }

    /// Waits for a place among the handshakes in progress. An accept loop that takes a place before it takes
    /// a connection leaves the connections that it can't serve yet in the kernel's backlog, which is bounded
    /// and costs nothing here; every place is free again after at most the handshake timeout and a short
    /// linger.
    pub async fn slot(&self) -> HandshakeSlot {
        let acquired = Arc::clone(&self.shared.slots).acquire_owned().await;
        #[expect(clippy::expect_used, reason = "the semaphore is private and never closed")]
        HandshakeSlot { _permit: acquired.expect("the semaphore is open") }
    }

    /// Takes one connection: waits for a place, then [`Acceptor::accept_in`] it.
    ///
    /// # Errors
    /// [`AcceptError::Busy`] when there was no place within the handshake timeout, and those of
    /// [`Acceptor::accept_in`].
    pub async fn accept(&self, tcp: TcpStream, address: SocketAddr) -> Result<TlsConnection, AcceptError> {
        self.accept_since(Instant::now(), tcp, address).await
    }

    /// As [`Acceptor::accept`], for a connection that has waited since a moment in the past: that counts
    /// against its time.
    ///
    /// # Errors
    /// Those of [`Acceptor::accept`].
    pub async fn accept_since(
        &self,
        since: Instant,
        tcp: TcpStream,
        address: SocketAddr,
    ) -> Result<TlsConnection, AcceptError> {
        let deadline = since + self.shared.limits.handshake_timeout;
        let slot = timeout_at(deadline, self.slot()).await.map_err(|_| AcceptError::Busy)?;
        self.accept_until(slot, tcp, address, deadline).await
    }

    /// Takes one connection within a place that the caller already has: sets `TCP_NODELAY`, does the
    /// handshake, and checks protocol, identity and policy. A client that is refused by TLS is given a moment
    /// to read the alert that says why.
    ///
    /// # Errors
    /// One variant of [`AcceptError`] per reason; the connection is closed.
    pub async fn accept_in(
        &self,
        slot: HandshakeSlot,
        tcp: TcpStream,
        address: SocketAddr,
    ) -> Result<TlsConnection, AcceptError> {
        let deadline = Instant::now() + self.shared.limits.handshake_timeout;
        self.accept_until(slot, tcp, address, deadline).await
    }

    async fn accept_until(
        &self,
        _slot: HandshakeSlot,
        tcp: TcpStream,
        address: SocketAddr,
        deadline: Instant,
    ) -> Result<TlsConnection, AcceptError> {
        let _handshaking = Counted::one(&self.shared.handshaking);
        tcp.set_nodelay(true).map_err(AcceptError::Socket)?;
        let config = self.shared.config.load_full();
        let tls = TlsAcceptor::from(Arc::clone(&config));
        let stream = match timeout_at(deadline, tls.accept(tcp).into_fallible()).await {
            Err(_) => return Err(AcceptError::Timeout),
            Ok(Err((error, tcp))) => {
                linger(tcp).await;
                return Err(AcceptError::Handshake(error));
            }
            Ok(Ok(stream)) => stream,
        };
        match self.check(&stream) {
            Ok((certificate, leaf)) => {
                let peer = PeerInfo { address, certificate: Arc::new(certificate) };
                let limits = (self.shared.limits.connections, self.shared.limits.connections_of_party);
                match self.shared.open.enter(peer.clone(), leaf, limits) {
                    // Whoever changes the configuration reviews the open connections afterwards; this one
                    // was judged by the old rules and may have come too late for that.
                    Ok(_) if !Arc::ptr_eq(&config, &self.shared.config.load()) => {
                        linger(stream).await;
                        Err(AcceptError::Overtaken)
                    }
                    Ok(registered) => Ok(TlsConnection::new(stream, peer, registered)),
                    Err(full) => {
                        linger(stream).await;
                        let identity = peer.certificate.identity();
                        Err(match full {
                            Full::All => AcceptError::Full,
                            Full::Party => AcceptError::TooManyOfOne { identity },
                        })
                    }
                }
            }
            Err(error) => {
                linger(stream).await;
                Err(error)
            }
        }
    }

    fn check(
        &self,
        stream: &TlsStream<TcpStream>,
    ) -> Result<(PeerCertificate, CertificateDer<'static>), AcceptError> {
        let (_, session) = stream.get_ref();
        if session.alpn_protocol() != Some(ALPN_H2) {
            return Err(AcceptError::NotH2);
        }
        let leaf = session.peer_certificates().and_then(<[_]>::first).ok_or(AcceptError::NoCertificate)?;
        let certificate = PeerCertificate::from_der(leaf, &self.shared.domain)?;
        match (self.shared.policy, certificate.identity()) {
            (ClientPolicy::AnyParty, _) | (ClientPolicy::MarketOnly, Identity::Market) => {
                Ok((certificate, leaf.clone().into_owned()))
            }
            (ClientPolicy::MarketOnly, other) => Err(AcceptError::NotTheMarket { identity: other }),
        }
    }
}

/// Why a connection was not taken. The peer learns no more than TLS tells it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// No place among the handshakes in progress came free in time.
    #[error("too many handshakes are in progress")]
    Busy,
    /// As many connections are open as may be.
    #[error("as many connections are open as may be")]
    Full,
    /// As many of the party's connections are open as may be.
    #[error("as many connections of this {} are open as may be", identity.role())]
    TooManyOfOne {
        /// Whose.
        identity: Identity,
    },
    /// The configuration was replaced during the handshake; the peer may try again at once.
    #[error("the configuration changed during the handshake")]
    Overtaken,
    /// The socket broke before the handshake.
    #[error("the connection broke before its handshake")]
    Socket(#[source] std::io::Error),
    /// The handshake failed; with a [`rustls::Error`] inside when TLS refused it, e.g. for a revoked
    /// certificate.
    #[error("the handshake failed")]
    Handshake(#[source] std::io::Error),
    /// The peer was too slow.
    #[error("the handshake took too long")]
    Timeout,
    /// The peer did not offer HTTP/2.
    #[error("the peer did not negotiate h2")]
    NotH2,
    /// The configuration did not require a certificate.
    #[error("the peer showed no certificate")]
    NoCertificate,
    /// The certificate names no party.
    #[error("the peer's certificate was refused")]
    Certificate(#[from] CertificateError),
    /// A callback server was called by someone else.
    #[error("only the market may connect here, and the peer is a {}", identity.role())]
    NotTheMarket {
        /// Who it was.
        identity: Identity,
    },
}

impl AcceptError {
    /// Why the peer's certificate was refused, if that was it: one of a few fixed texts, since whoever is
    /// refused would otherwise write what it likes into logs.
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
        Bad::Expired | Bad::ExpiredContext { .. } => "the certificate has ended",
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => "the certificate is not valid yet",
        Bad::Revoked => "the certificate was revoked",
        Bad::UnknownIssuer => "the certificate is not our authority's",
        Bad::BadSignature => "the certificate's signature is wrong",
        Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => "the certificate is for another purpose",
        Bad::UnknownRevocationStatus => "no revocation list speaks about the certificate",
        Bad::ExpiredRevocationList | Bad::ExpiredRevocationListContext { .. } => {
            "the revocation list is out of date"
        }
        _ => "the certificate is not acceptable",
    })
}

/// Closes a refused connection so that what was said last arrives: the alert, or TLS's close. Closing with
/// unread bytes in the receive buffer makes the kernel send a reset, upon which the client would lose it and
/// see only a broken connection.
async fn linger(mut refused: impl AsyncRead + AsyncWrite + Unpin) {
    let drain = async {
        refused.shutdown().await?;
        tokio::io::copy(&mut refused.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // Neither how it ends nor whether it ends in time matters any more.
    let _ = timeout(LINGER, drain).await;
}
