//! The accepting side: turns a TCP connection into a TLS connection from an identified party.
//!
//! tonic's own server TLS supports neither revocation lists nor reloading, bounds neither the number nor the
//! duration of handshakes, and leaves it to each call to parse the peer's certificate. Here a connection
//! reaches tonic only after its handshake has finished, ALPN has selected `h2`, and its certificate names a
//! party that the policy admits.

mod connection;
mod error;
mod incoming;
mod limits;
mod listener;
mod peer;
mod proxy;
mod registry;
mod sources;
mod turns;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::identity::{Identity, PeerCertificate, TrustDomain};
use crate::server::ClientPolicy;
use crate::tls::ALPN_H2;

use connection::Counted;
pub use connection::TlsConnection;
pub use error::AcceptError;
pub use incoming::incoming;
pub use limits::{
    AcceptorLimits, CONNECTIONS, CONNECTIONS_OF_PARTY, HANDSHAKE_TIMEOUT, HANDSHAKES, HANDSHAKES_OF_ADDRESS,
    HANDSHAKES_PER_SECOND_OF_ADDRESS, WAITING,
};
pub use listener::{Arrival, HEADERS, Listener};
pub use peer::PeerInfo;
use registry::{Full, Registry};
pub use sources::{BURST, ENDED_COST, Entry, FAILED_COST, Place, Sources, source_of};

/// How long a rejected connection is kept open so that the client can read the reason. It holds its handshake permit
/// meanwhile, so this has to be short: a round trip to nearly every client.
const LINGER: Duration = Duration::from_millis(250);
/// How many bytes are read from a rejected connection, and discarded, before it is closed.
const LINGER_BYTES: u64 = 64 * 1024;

/// Accepts TLS connections under one configuration and policy. Clones share all state, including the limits.
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
    sources: Sources,
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

/// A permit for one handshake, released on drop.
#[derive(Debug)]
pub struct HandshakeSlot {
    _permit: OwnedSemaphorePermit,
}

impl Acceptor {
    /// Creates an acceptor. `config` must come from [`server_config`](crate::server::server_config) with the
    /// same policy.
    #[must_use]
    pub fn new(
        config: Arc<ServerConfig>,
        domain: TrustDomain,
        policy: ClientPolicy,
        limits: AcceptorLimits,
    ) -> Self {
        // At least 1: with 0, `slot` would wait forever.
        let slots = Arc::new(Semaphore::new(limits.handshakes.clamp(1, Semaphore::MAX_PERMITS)));
        let config = ArcSwap::from(config);
        Acceptor {
            shared: Arc::new(Shared {
                config,
                domain,
                policy,
                limits,
                slots,
                sources: Sources::new(limits),
                open: Arc::default(),
                handshaking: Arc::default(),
            }),
        }
    }

    /// Replaces the configuration atomically for handshakes that start from now on.
    ///
    /// Open connections keep the configuration they were accepted with; call [`Acceptor::cut`] afterwards to
    /// close those that the new one would reject. Handshakes in progress finish with the old configuration
    /// and are then rejected with [`AcceptError::Overtaken`].
    pub fn swap(&self, config: Arc<ServerConfig>) {
        self.shared.config.store(config);
    }

    /// Returns the number of open connections: accepted and not yet dropped.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.open.len()
    }

    /// Closes every open connection for which `is_over` returns true, given the peer and its leaf, and
    /// returns the peers of the closed connections. Calls in progress on them fail as after a network
    /// failure.
    pub fn cut(&self, is_over: impl Fn(&PeerInfo, &CertificateDer<'static>) -> bool) -> Vec<PeerInfo> {
        self.shared.open.cut(is_over)
    }

    /// Returns the number of handshakes in progress, at most [`AcceptorLimits::handshakes`].
    #[must_use]
    pub fn handshakes(&self) -> usize {
        // Relaxed suffices for a metric. The limit itself is kept by the semaphore.
        self.shared.handshaking.load(Ordering::Relaxed)
    }

    /// Returns the shares of the source addresses, for a [`Listener`].
    #[must_use]
    pub fn sources(&self) -> &Sources {
        &self.shared.sources
    }

    /// Waits for a handshake permit. It is held for at most the handshake timeout plus the time given to a rejected
    /// client to read the reason.
    pub async fn slot(&self) -> HandshakeSlot {
        let acquired = Arc::clone(&self.shared.slots).acquire_owned().await;
        #[expect(clippy::expect_used, reason = "the semaphore is private and never closed")]
        HandshakeSlot { _permit: acquired.expect("the semaphore is open") }
    }

    /// Accepts one connection: waits for a handshake permit, sets `TCP_NODELAY`, performs the handshake, and checks
    /// protocol, identity, policy and connection limits. A rejected client is given a moment to read the TLS alert.
    ///
    /// # Errors
    /// Returns the reason as a variant of [`AcceptError`]; the connection is closed. It is [`AcceptError::Busy`] if no
    /// permit was available within the handshake timeout.
    pub async fn accept(&self, tcp: TcpStream, address: SocketAddr) -> Result<TlsConnection, AcceptError> {
        self.accept_since(Instant::now(), tcp, address).await
    }

    /// Like [`Acceptor::accept`], but the handshake timeout counts from `since`, for a connection that has
    /// already waited in a queue of the caller's.
    async fn accept_since(
        &self,
        since: Instant,
        tcp: TcpStream,
        address: SocketAddr,
    ) -> Result<TlsConnection, AcceptError> {
        let deadline = since + self.shared.limits.handshake_timeout;
        let slot = timeout_at(deadline, self.slot()).await.map_err(|_| AcceptError::Busy)?;
        self.accept_until(slot, tcp, address, deadline).await
    }

    /// Accepts a connection of a [`Listener`], and charges its source address with the handshake.
    ///
    /// # Errors
    /// Returns the errors of [`Acceptor::accept`].
    pub async fn accept_arrival(&self, arrival: Arrival) -> Result<TlsConnection, AcceptError> {
        let Arrival { stream, address, since, mut place } = arrival;
        let accepted = self.accept_since(since, stream, address).await;
        match &accepted {
            Ok(_) => place.authenticated(),
            Err(error) if error.is_of_peer() => place.failed(),
            Err(_) => {}
        }
        accepted
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
        // Kept for the comparison below: was this still the current configuration when the handshake ended?
        let config = self.shared.config.load_full();
        let tls = TlsAcceptor::from(Arc::clone(&config));
        // `into_fallible` returns the socket with the error; dropping it at once could cost the client the
        // alert.
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
                    // After a swap, the caller reviews the registered connections with `cut`. This one was
                    // verified under the old configuration and may have been registered after that review, so
                    // a certificate revoked by the new CRL could slip through. It was registered before this
                    // check: a swap after the check therefore finds it in the review.
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
        // rustls completes the handshake if the client offers no ALPN at all (RFC 7301), so this has to be
        // checked here.
        if session.alpn_protocol() != Some(ALPN_H2) {
            return Err(AcceptError::NotH2);
        }
        // Present whenever the configuration asks for it; checked all the same, so that a wrong configuration fails closed.
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

/// Closes a rejected connection gracefully, so that the client receives the last record: the alert or
/// `close_notify`. If unread bytes were left in the receive buffer, closing would make the kernel send a RST,
/// on which the client discards what it has not read yet and sees only a broken connection.
pub async fn linger(mut refused: impl AsyncRead + AsyncWrite + Unpin) {
    let drain = async {
        // Sends FIN after the alert, then reads what the client still sends until it closes.
        refused.shutdown().await?;
        tokio::io::copy(&mut refused.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // Best effort: the connection is dropped in any case.
    let _ = timeout(LINGER, drain).await;
}
