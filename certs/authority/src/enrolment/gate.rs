//! Accepting connections. A client shows a certificate, or none because it comes for one; the acceptor of `souk-certs`
//! admits only the former, so this one differs. The fair shares of the source addresses are the same.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::Stream;
use souk_certs::acceptor::{AcceptorLimits, Arrival, Entry, Listener, Place, Sources, linger, source_of};
use souk_certs::identity::{CertificateError, Role};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::limits::{
    self, CONNECTIONS, CONNECTIONS_OF_CERTIFICATE, HANDSHAKE_TIMEOUT, REVOKED_TIME, STRANGERS,
    STRANGERS_OF_ADDRESS, STRANGERS_TIME, VISIT_TIME,
};
use super::peer::{Leaf, Peer};
use super::state::State;

/// The only application protocol (RFC 9113 §3.2).
const ALPN_H2: &[u8] = b"h2";

/// Performs handshakes.
#[derive(Clone)]
pub(super) struct Gate {
    state: Arc<State>,
    handshakes: Sources,
    connections: Arc<Semaphore>,
    strangers: Sources,
    visits: Visits,
}

impl Gate {
    pub(super) fn new(state: Arc<State>) -> Self {
        // The shares of connections are counted as those of handshakes: each place stands for a connection.
        let strangers = AcceptorLimits {
            // A quarter is kept for known addresses, and strangers never are.
            handshakes: STRANGERS * 4 / 3,
            handshakes_of_address: STRANGERS_OF_ADDRESS,
            handshakes_per_second_of_address: u32::MAX,
            waiting: 0,
            ..limits::handshakes()
        };
        Gate {
            state,
            handshakes: Sources::new(limits::handshakes()),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
            strangers: Sources::new(strangers),
            visits: Visits::default(),
        }
    }

    /// Returns the stream of connections whose handshake succeeded. It never ends.
    pub(super) fn incoming(self, listener: TcpListener) -> impl Stream<Item = io::Result<Connection>> {
        let listener = Listener::new(listener, self.handshakes.clone(), Vec::new());
        let state = (listener, self, JoinSet::<Option<Connection>>::new());
        futures::stream::unfold(state, |(mut listener, gate, mut handshakes)| async move {
            loop {
                tokio::select! {
                    Some(finished) = handshakes.join_next() => {
                        // A panic has been reported by the panic hook, and costs only that connection.
                        if let Ok(Some(connection)) = finished {
                            return Some((Ok(connection), (listener, gate, handshakes)));
                        }
                    }
                    arrival = listener.next() => {
                        let gate = gate.clone();
                        handshakes.spawn(async move {
                            let address = arrival.address;
                            let accepted = gate.accept(arrival).await;
                            // Anybody can cause these, so they must not drown out what the operator has to act on.
                            accepted.inspect_err(|error| tracing::debug!(%address, %error, "connection refused")).ok()
                        });
                    }
                }
            }
        })
    }

    async fn accept(&self, arrival: Arrival) -> Result<Connection, Refused> {
        let Arrival { stream, address, since, mut place } = arrival;
        let permit = Arc::clone(&self.connections).try_acquire_owned().map_err(|_| Refused::Full)?;
        let secured = self.secure(stream, since).await;
        match secured {
            Ok((stream, certificate)) => {
                let certificate = certificate.map(Arc::new);
                let share = match &certificate {
                    Some(certificate) => {
                        place.authenticated();
                        let visit = self.visits.begin(certificate.facts.serial());
                        Share::Visit(visit.ok_or(Refused::TooManyOfCertificate)?)
                    }
                    None => Share::Stranger(self.admit_stranger(address.ip())?),
                };
                let end = Box::pin(end(Arc::clone(&self.state), certificate.clone()));
                let peer = Peer { address, certificate };
                Ok(Connection { stream, peer, end, is_over: false, _permit: permit, _share: share })
            }
            Err(refused) => {
                place.failed();
                Err(refused)
            }
        }
    }

    async fn secure(
        &self,
        tcp: TcpStream,
        since: Instant,
    ) -> Result<(TlsStream<TcpStream>, Option<Leaf>), Refused> {
        let tls = self.state.tls.load_full();
        tcp.set_nodelay(true).map_err(Refused::Handshake)?;
        let handshake = TlsAcceptor::from(Arc::clone(&tls.config)).accept(tcp);
        let handshake = timeout_at(since + HANDSHAKE_TIMEOUT, handshake.into_fallible()).await;
        let stream = match handshake.map_err(|_| Refused::Slow)? {
            Ok(stream) => stream,
            Err((error, tcp)) => {
                // The client is to read the alert, by which it distinguishes a revoked certificate from an ended one.
                linger(tcp).await;
                return Err(Refused::Handshake(error));
            }
        };
        let (_, session) = stream.get_ref();
        if session.alpn_protocol() != Some(ALPN_H2) {
            return Err(Refused::NotH2);
        }
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        let certificate = leaf.map(|leaf| Leaf::parse(leaf, &self.state.domain, &tls.retired)).transpose()?;
        Ok((stream, certificate))
    }

    fn admit_stranger(&self, address: IpAddr) -> Result<Place, Refused> {
        match self.strangers.enter(source_of(address)) {
            Entry::Place(place) => Ok(place),
            Entry::Wait(_) | Entry::Full => Err(Refused::TooManyStrangers),
        }
    }
}

/// Why a connection is closed before its first call.
#[derive(Debug, Error)]
enum Refused {
    #[error("too many connections are open")]
    Full,
    #[error("too many connections without a certificate are open")]
    TooManyStrangers,
    #[error("too many connections with this certificate are open")]
    TooManyOfCertificate,
    #[error("the handshake took too long")]
    Slow,
    #[error("the handshake failed: {0}")]
    Handshake(io::Error),
    #[error("the client does not offer h2")]
    NotH2,
    #[error("the certificate was refused: {0}")]
    Certificate(#[from] CertificateError),
}

/// An accepted connection, which ends when its time is over.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_over: bool,
    _permit: OwnedSemaphorePermit,
    _share: Share,
}

/// What a connection takes of the shares.
enum Share {
    Stranger(#[expect(dead_code, reason = "held, not read")] Place),
    Visit(#[expect(dead_code, reason = "held, not read")] Visit),
}

/// Counts open connections by the serial number of their certificate.
#[derive(Clone, Debug, Default)]
struct Visits(Arc<Mutex<HashMap<Vec<u8>, usize>>>);

/// One of the connections that show a certificate; no longer counted on drop.
struct Visit {
    visits: Visits,
    serial: Vec<u8>,
}

impl Visits {
    /// Counts a connection; `None` if too many are open.
    fn begin(&self, serial: &[u8]) -> Option<Visit> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(serial.to_vec()).or_default();
        if *count >= CONNECTIONS_OF_CERTIFICATE {
            return None;
        }
        *count += 1;
        Some(Visit { visits: self.clone(), serial: serial.to_vec() })
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut open = self.visits.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.serial) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.serial);
            }
        }
    }
}

/// Waits until a connection has to end: after a time that depends on who it is of, or a moment after its certificate was
/// revoked.
async fn end(state: Arc<State>, certificate: Option<Arc<Leaf>>) {
    let Some(certificate) = certificate else { return sleep(STRANGERS_TIME).await };
    let mut changes = state.newest.subscribe();
    let revoked = async {
        while !state.is_revoked(certificate.facts.serial()) {
            if changes.changed().await.is_err() {
                return;
            }
        }
        sleep(REVOKED_TIME).await;
    };
    let over = async {
        match certificate.facts.identity().role() {
            Role::Market => std::future::pending().await,
            _ => sleep(VISIT_TIME).await,
        }
    };
    tokio::select! {
        () = revoked => {}
        () = over => {}
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // HTTP/2 always has a read pending, so failing the read ends the connection.
        if self.is_over || self.end.as_mut().poll(cx).is_ready() {
            self.is_over = true;
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
