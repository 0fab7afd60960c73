//! A TCP listener whose connections come in the turn of their source addresses.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::proxy::read_header;
use super::sources::{Entry, Place, Sources};

/// How long to wait after an `accept` error that would recur immediately, such as EMFILE. Without the pause
/// the accept loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Maximum time that a connection waits for its turn.
const WAITING_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time in which a proxy has to send its header, which is the first thing that it sends.
const HEADER_TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum number of connections whose proxy header is still to come. Only the operator's proxies connect here.
pub const HEADERS: usize = 1_024;

/// Minimum interval between log lines about dropped connections, so that a flood does not fill the log.
const DROPPED_REPORT: Duration = Duration::from_secs(1);

/// Why a connection is dropped at once.
const FULL: &str = "too many connections of its address wait for their handshake";
/// Why a connection that had to wait is dropped.
const LATE: &str = "it waited too long for its handshake, or gave way to another address";

/// Accepts connections, and yields each when its source address has a place for its handshake.
///
/// Connections from the networks of `proxies` must begin with a header of the PROXY protocol, version 2. Their address is
/// the one that the header states. From other networks such a header is not accepted: anybody could claim any address.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    sources: Sources,
    proxies: Arc<[IpNet]>,
    headers: Arc<Semaphore>,
    /// Connections that wait for their header or their turn. Bounded by `headers` and by the sources.
    pending: JoinSet<Result<Arrival, Lost>>,
    report: Report,
}

/// A connection whose handshake may begin.
#[derive(Debug)]
pub struct Arrival {
    /// The connection.
    pub stream: TcpStream,
    /// The address of the client.
    pub address: SocketAddr,
    /// When its turn came, from which the handshake timeout counts.
    pub since: Instant,
    /// Its place among the handshakes.
    pub place: Place,
}

/// A connection was closed before its handshake.
#[derive(Debug)]
struct Lost {
    address: SocketAddr,
    why: String,
}

impl Listener {
    /// Takes connections from `tcp`, with shares of `sources` ([`Acceptor::sources`](super::Acceptor::sources)).
    #[must_use]
    pub fn new(tcp: TcpListener, sources: Sources, proxies: Vec<IpNet>) -> Self {
        Listener {
            tcp,
            sources,
            proxies: proxies.into(),
            headers: Arc::new(Semaphore::new(HEADERS)),
            pending: JoinSet::new(),
            report: Report { count: 0, reported_at: None },
        }
    }

    /// Returns the address on which it listens.
    ///
    /// # Errors
    /// Returns the operating system's error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Returns the next connection whose turn has come. May be dropped at any time without losing one.
    ///
    /// A failed `accept` is logged and retried, after a pause if the cause is local.
    pub async fn next(&mut self) -> Arrival {
        loop {
            tokio::select! {
                Some(waited) = self.pending.join_next() => match waited {
                    Ok(Ok(arrival)) => return arrival,
                    Ok(Err(lost)) => self.report_dropped(lost.address, &lost.why),
                    // A panic has already been reported by the panic hook, and costs only that connection.
                    Err(_) => self.sources.count_dropped(),
                },
                accepted = self.tcp.accept() => match accepted {
                    Ok((stream, address)) => {
                        if let Some(arrival) = self.admit(stream, address) {
                            return arrival;
                        }
                    }
                    Err(error) => rest_after(&error).await,
                },
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, address: SocketAddr) -> Option<Arrival> {
        if is_in(&self.proxies, address.ip()) {
            match Arc::clone(&self.headers).try_acquire_owned() {
                Ok(permit) => {
                    self.pending.spawn(behind_proxy(self.sources.clone(), permit, stream, address));
                }
                Err(_) => self.report_dropped(address, "too many proxy headers are awaited"),
            }
            return None;
        }
        match self.sources.enter(address.ip()) {
            Entry::Place(place) => return Some(Arrival::now(stream, address, place)),
            Entry::Wait(turn) => {
                self.pending.spawn(Arrival::in_turn(stream, address, turn));
            }
            Entry::Full => self.report_dropped(address, FULL),
        }
        None
    }

    /// Counts a connection that is closed before its handshake. At most one per second is logged.
    pub fn report_dropped(&mut self, address: SocketAddr, why: &str) {
        self.sources.count_dropped();
        self.report.one(address, why);
    }
}

impl Arrival {
    fn now(stream: TcpStream, address: SocketAddr, place: Place) -> Self {
        Arrival { stream, address, since: Instant::now(), place }
    }

    /// Waits for the turn of a connection.
    async fn in_turn(
        stream: TcpStream,
        address: SocketAddr,
        turn: oneshot::Receiver<Place>,
    ) -> Result<Self, Lost> {
        let Ok(Ok(place)) = timeout(WAITING_TIMEOUT, turn).await else {
            return Err(Lost { address, why: LATE.to_owned() });
        };
        Ok(Arrival::now(stream, address, place))
    }
}

/// Reads the header that a proxy sends first, and waits for the turn of the client's address.
async fn behind_proxy(
    sources: Sources,
    permit: OwnedSemaphorePermit,
    mut stream: TcpStream,
    proxy: SocketAddr,
) -> Result<Arrival, Lost> {
    let lost = |why: String| Lost { address: proxy, why };
    let client = match timeout(HEADER_TIMEOUT, read_header(&mut stream)).await {
        Err(_) => return Err(lost("the proxy sent no PROXY protocol header".to_owned())),
        Ok(Err(error)) => return Err(lost(format!("the proxy's connection is refused: {error}"))),
        Ok(Ok(client)) => client.unwrap_or(proxy),
    };
    drop(permit);
    match sources.enter(client.ip()) {
        Entry::Place(place) => Ok(Arrival::now(stream, client, place)),
        Entry::Wait(turn) => Arrival::in_turn(stream, client, turn).await,
        Entry::Full => Err(Lost { address: client, why: FULL.to_owned() }),
    }
}

fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// Logs lost connections, at most one line per [`DROPPED_REPORT`].
#[derive(Debug)]
struct Report {
    count: u64,
    reported_at: Option<Instant>,
}

impl Report {
    fn one(&mut self, address: SocketAddr, why: &str) {
        self.count += 1;
        if self.reported_at.is_none_or(|at| at.elapsed() >= DROPPED_REPORT) {
            let count = std::mem::take(&mut self.count);
            tracing::warn!(count, last = %address, "dropped connections before their handshake: {why}");
            self.reported_at = Some(Instant::now());
        }
    }
}

/// Logs an `accept` error and waits if it is likely to recur at once. A connection that broke in the backlog
/// concerns only its peer; any other error (no descriptors, no memory) affects every `accept`.
async fn rest_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        tracing::debug!(%error, "a connection broke before it was accepted");
        return;
    }
    tracing::warn!(%error, "connections cannot be accepted; trying again shortly");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}
