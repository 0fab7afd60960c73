//! The server threads: accepting connections, distributing them, and draining at shutdown. Independent of the
//! services.
//!
//! There is one current-thread runtime per core, and a connection stays on the thread to which it was assigned. A
//! call is read, processed and answered without crossing threads, except to the ledger and back. That avoids the
//! synchronization of a work-stealing runtime.

mod admission;
mod connection;
mod deadline;
mod ending;
mod frames;
mod gate;
mod load;
mod messages;
mod metered;
mod pulse;
mod request_streams;
mod sources;
mod thread;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use souk_certs::acceptor::Acceptor;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{access::CallRates, audit::Refusals, config::LogFormat, observe::CallTimes, random::Random};
use admission::AdmissionLayer;
pub(crate) use connection::{CONCURRENT_STREAMS, PENDING_RESETS};
use ending::EndedConnections;
use load::DroppedConnections;
pub use load::ServerLoad;
pub use pulse::Pulses;
use request_streams::RequestStreams;
use sources::{Entry, Place, Sources};
use thread::{ServerThread, Shared};

/// How long to wait after a failed `accept` (such as EMFILE), which would otherwise fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Maximum time that a connection waits because its address has reached its limit of concurrent handshakes.
const WAITING_TIMEOUT: Duration = Duration::from_secs(10);

/// Minimum interval between log lines about dropped connections, so that a flood does not fill the log.
const DROPPED_REPORT: Duration = Duration::from_secs(1);

/// An accepted connection on its way to a server thread.
struct Dealt<S = TcpStream> {
    stream: S,
    address: SocketAddr,
    /// When it was accepted, or its turn came. The handshake timeout counts from here, including the wait in the
    /// thread's queue.
    since: Instant,
    place: Place,
}

/// Counts the connections dropped before their handshake, for the log.
struct Dropped {
    total: DroppedConnections,
    count: u64,
    reported_at: Instant,
}

impl Dropped {
    fn one(&mut self, address: SocketAddr) {
        self.total.add_one();
        self.count += 1;
        if self.reported_at.elapsed() >= DROPPED_REPORT {
            let count = std::mem::take(&mut self.count);
            tracing::warn!(count, last = %address.ip(), "dropped connections: too many handshakes in progress");
            self.reported_at = Instant::now();
        }
    }
}

/// The running server threads.
pub struct Server {
    threads: Vec<ServerThread>,
    sources: Sources,
    shared: Shared,
    dropped: DroppedConnections,
    pulses: Pulses,
}

/// Options of [`Server::start`]: TLS, threads and limits.
#[derive(Clone)]
pub struct ServerOptions {
    /// Performs the TLS handshakes.
    pub acceptor: Acceptor,
    /// Number of threads, at least 1.
    pub threads: usize,
    /// Maximum time for calls in progress to complete after [`Server::stop`].
    pub drain: Duration,
    /// Maximum number of concurrent handshakes from one address.
    pub handshakes_of_address: usize,
    /// Maximum number of concurrent calls, on all threads together.
    pub calls: usize,
    /// Maximum number of concurrent calls of one party.
    pub calls_of_party: usize,
    /// Counts the calls of each party.
    pub rates: CallRates,
    /// The format of the access log.
    pub log_format: LogFormat,
    /// Collects the durations of calls.
    pub times: Arc<CallTimes>,
    /// Collects rejected certificates for the audit log.
    pub refusals: Refusals,
    /// Makes ids for calls.
    pub random: Random,
}

impl Server {
    /// Starts the threads. `routes` is called once on each of them to create its services.
    pub fn start<F, R>(options: &ServerOptions, routes: F) -> io::Result<Self>
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Routes, tonic_reflection::server::Error>>,
    {
        let pulses = Pulses::new(options.threads);
        let shared = Shared {
            options: options.clone(),
            admission: AdmissionLayer::new(options.calls, options.calls_of_party),
            streams: RequestStreams::default(),
            ended: EndedConnections::default(),
            stop: CancellationToken::new(),
        };
        let routes = Arc::new(routes);
        let threads = (0..options.threads)
            .map(|number| ServerThread::start((number, pulses.clone()), shared.clone(), Arc::clone(&routes)))
            .collect::<io::Result<_>>()?;
        let sources = Sources::new(options.handshakes_of_address);
        Ok(Self { threads, sources, shared, dropped: DroppedConnections::default(), pulses })
    }

    /// Returns the heartbeats of the threads, for health checks. They remain usable after the threads have ended.
    pub fn pulses(&self) -> Pulses {
        self.pulses.clone()
    }

    /// Accepts connections and distributes them round robin. Never returns.
    pub async fn deal(&self, listener: &TcpListener) {
        let mut turn = 0;
        let mut dropped = Dropped { total: self.dropped.clone(), count: 0, reported_at: Instant::now() };
        // Connections whose turn has come. Their number is bounded by that of the waiting ones.
        let (called, mut calls) = mpsc::unbounded_channel();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                // Can't be `None`: `called` is alive.
                Some(dealt) = calls.recv() => {
                    self.deal_one(&mut turn, dealt, &mut dropped);
                    continue;
                }
            };
            match accepted {
                Ok((stream, address)) => {
                    let since = Instant::now();
                    match self.sources.enter(address.ip()) {
                        Entry::Place(place) => {
                            self.deal_one(&mut turn, Dealt { stream, address, since, place }, &mut dropped);
                        }
                        Entry::Wait(its_turn) => {
                            let (called, dropped) = (called.clone(), self.dropped.clone());
                            tokio::spawn(async move {
                                if let Ok(Ok(place)) = time::timeout(WAITING_TIMEOUT, its_turn).await {
                                    let _ =
                                        called.send(Dealt { stream, address, since: Instant::now(), place });
                                } else {
                                    dropped.add_one();
                                }
                            });
                        }
                        Entry::Full => dropped.one(address),
                    }
                }
                Err(error) => {
                    // Never fatal: EMFILE passes when connections close, and ECONNABORTED concerns only one
                    // client.
                    tracing::warn!(%error, "cannot accept connections; trying again shortly");
                    time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Offers a connection to the next thread.
    fn deal_one(&self, turn: &mut usize, dealt: Dealt, dropped: &mut Dropped) {
        // Advances even if the connection is dropped; otherwise a thread with a full queue would be offered each
        // new connection first.
        *turn = (*turn + 1) % self.threads.len();
        let address = dealt.address;
        if !self.offer(*turn, dealt) {
            dropped.one(address);
        }
    }

    /// Returns the load, for metrics.
    pub fn load(&self) -> ServerLoad {
        ServerLoad {
            sources: self.sources.clone(),
            admission: self.shared.admission.clone(),
            streams: self.shared.streams.clone(),
            ended: self.shared.ended.clone(),
            queues: self.threads.iter().map(ServerThread::queue).collect(),
            dropped: self.dropped.clone(),
        }
    }

    /// Offers a connection to a thread, and to the others if its queue is full. Returns whether one of them took it.
    /// If none does, the connection is dropped, upon which the client backs off: queueing it would only make its
    /// handshake time out.
    fn offer(&self, turn: usize, connection: Dealt) -> bool {
        let mut left = Some(connection);
        for offset in 0..self.threads.len() {
            let Some(connection) = left.take() else { return true };
            left = self.threads[(turn + offset) % self.threads.len()].offer(connection);
        }
        left.is_none()
    }

    /// Rejects new calls, waits for those in progress for at most the drain time, and stops the threads. Blocks.
    pub fn stop(self) {
        // Signals all threads before the first is joined, so that their drain times run in parallel.
        self.shared.stop.cancel();
        for thread in self.threads {
            thread.join();
        }
    }
}
