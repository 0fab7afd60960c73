//! The server threads: accepts connections, deals them out, and drains at the end. It knows nothing of the
//! services that run on it.
//!
//! One current-thread runtime for each core, and a connection stays on the thread that it was dealt to: a
//! call is read, carried out and answered without crossing threads, except to the ledger and back.

mod admission;
mod deadline;
mod pulse;
mod sources;
mod thread;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use souk_certs::acceptor::Acceptor;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{audit::Refusals, config::LogFormat, observe::CallTimes, random::Random};
use admission::AdmissionLayer;
pub use pulse::Pulses;
use sources::{Place, Sources};
use thread::ServerThread;

/// How long to wait after the system refused to accept (for want of file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often dropped connections are told of at most.
const DROPPED_REPORT: Duration = Duration::from_secs(1);

/// A connection before its handshake.
struct Dealt<S = TcpStream> {
    stream: S,
    address: SocketAddr,
    /// When it was accepted, which counts against the time of its handshake.
    since: Instant,
    place: Place,
}

/// Connections that were dropped before their handshakes.
struct Dropped {
    count: u64,
    told: Instant,
}

impl Dropped {
    fn one(&mut self, address: SocketAddr) {
        self.count += 1;
        if self.told.elapsed() >= DROPPED_REPORT {
            let count = std::mem::take(&mut self.count);
            tracing::warn!(count, last = %address.ip(), "too many handshakes: connections were dropped");
            self.told = Instant::now();
        }
    }
}

/// The server threads.
pub struct Server {
    threads: Vec<ServerThread>,
    sources: Sources,
    pulses: Pulses,
    stop: CancellationToken,
}

/// How the server threads run.
#[derive(Clone)]
pub struct ServerOptions {
    /// Does the handshakes.
    pub acceptor: Acceptor,
    /// How many threads; 1 or more.
    pub threads: usize,
    /// How long calls under way may take to end after [`Server::stop`].
    pub drain: Duration,
    /// How many handshakes from one address may be under way.
    pub handshakes_of_address: usize,
    /// How many calls may be under way, on all threads together.
    pub calls: usize,
    /// How many of them may be one party's.
    pub calls_of_party: usize,
    /// How the line for each call is written.
    pub log_format: LogFormat,
    /// Takes in how long calls take.
    pub times: Arc<CallTimes>,
    /// Takes in whose certificate was refused.
    pub refusals: Refusals,
    /// Makes ids for calls.
    pub random: Random,
}

impl Server {
    /// Starts the threads. `routes` is called on each of them and makes its services.
    pub fn start<F, R>(options: &ServerOptions, routes: F) -> io::Result<Self>
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Routes, tonic_reflection::server::Error>>,
    {
        let (stop, pulses) = (CancellationToken::new(), Pulses::new(options.threads));
        let (routes, admission) =
            (Arc::new(routes), AdmissionLayer::new(options.calls, options.calls_of_party));
        let threads = (0..options.threads)
            .map(|number| {
                let options = (options.clone(), admission.clone());
                ServerThread::start((number, pulses.clone()), options, stop.clone(), Arc::clone(&routes))
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { threads, sources: Sources::new(options.handshakes_of_address), pulses, stop })
    }

    /// Whether the threads turn; whoever asks may outlive them.
    pub fn pulses(&self) -> Pulses {
        self.pulses.clone()
    }

    /// Accepts connections and deals them round robin, for ever.
    pub async fn deal(&self, listener: &TcpListener) {
        let mut turn = 0;
        let mut dropped = Dropped { count: 0, told: Instant::now() };
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    turn = (turn + 1) % self.threads.len();
                    let taken = self.sources.enter(address.ip()).is_some_and(|place| {
                        self.offer(turn, Dealt { stream, address, since: Instant::now(), place })
                    });
                    if !taken {
                        dropped.one(address);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "can't accept connections for the moment");
                    time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// A thread that is busy with handshakes passes its turn on. When all are, the connection is dropped,
    /// which tells the client to back off. Answers whether it was taken.
    fn offer(&self, turn: usize, connection: Dealt) -> bool {
        let mut left = Some(connection);
        for offset in 0..self.threads.len() {
            let Some(connection) = left.take() else { return true };
            left = self.threads[(turn + offset) % self.threads.len()].offer(connection);
        }
        left.is_none()
    }

    /// Takes no further calls, waits for those under way until the drain is over, and ends the threads.
    /// Blocks.
    pub fn stop(self) {
        self.stop.cancel();
        for thread in self.threads {
            thread.join();
        }
    }
}
