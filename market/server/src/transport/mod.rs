//! The server threads: accepting connections, distributing them, and draining at shutdown. Independent of the
//! services.
//!
//! There is one current-thread runtime per core, and a connection stays on the thread to which it was assigned. A
//! call is read, processed and answered without crossing threads, except to the ledger and back. That avoids the
//! synchronization of a work-stealing runtime.

mod admission;
mod answers;
mod busy;
mod call;
mod compress;
mod connection;
mod deadline;
mod ending;
mod first_frame;
mod frames;
mod gate;
mod load;
mod messages;
mod metered;
mod places;
mod pulse;
mod refused;
mod request_streams;
mod thread;

use std::{io, sync::Arc, time::Duration};

use prost::DecodeError;
use souk_certs::acceptor::{Acceptor, Arrival, Listener};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{
    access::CallRates,
    audit::Refusals,
    config::LogFormat,
    observe::{CallTimes, TopTalkers},
    random::Random,
};
use admission::Calls;
use answers::Answers;
pub(crate) use connection::{CONCURRENT_STREAMS, PENDING_RESETS};
use ending::EndedConnections;
pub use load::ServerLoad;
pub use pulse::Pulses;
use refused::SlowedConnections;
use request_streams::RequestStreams;
use thread::{ServerThread, Shared};

/// The running server threads.
pub struct Server {
    threads: Vec<ServerThread>,
    shared: Shared,
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
    /// Sums up what each party uses.
    pub talkers: TopTalkers,
    /// Collects rejected certificates for the audit log.
    pub refusals: Refusals,
    /// Makes ids for calls.
    pub random: Random,
}

impl Server {
    /// Starts the threads. `routes` is called once on each of them to create its services.
    pub fn start<F>(options: &ServerOptions, routes: F) -> io::Result<Self>
    where
        F: Fn() -> Result<Routes, DecodeError> + Send + Sync + 'static,
    {
        let pulses = Pulses::new(options.threads);
        let shared = Shared {
            options: options.clone(),
            calls: Calls::new(options.calls, options.calls_of_party),
            answers: Answers::default(),
            request_streams: RequestStreams::default(),
            ended: EndedConnections::new(options.acceptor.sources().clone()),
            slowed: SlowedConnections::default(),
            stop: CancellationToken::new(),
        };
        let routes = Arc::new(routes);
        let threads = (0..options.threads)
            .map(|number| ServerThread::start((number, pulses.clone()), shared.clone(), Arc::clone(&routes)))
            .collect::<io::Result<_>>()?;
        Ok(Self { threads, shared, pulses })
    }

    /// Returns the heartbeats of the threads, for health checks. They remain usable after the threads have ended.
    pub fn pulses(&self) -> Pulses {
        self.pulses.clone()
    }

    /// Distributes the connections of `listener` round robin. Never returns.
    pub async fn deal(&self, listener: &mut Listener) {
        let mut turn = 0;
        loop {
            let arrival = listener.next().await;
            let address = arrival.address;
            // Advances even if the connection is dropped; otherwise a thread with a full queue would be offered each
            // new connection first.
            turn = (turn + 1) % self.threads.len();
            if !self.offer(turn, arrival) {
                listener.report_dropped(address, "the queues of all server threads are full");
            }
        }
    }

    /// Returns the load, for metrics.
    pub fn load(&self) -> ServerLoad {
        ServerLoad {
            sources: self.shared.options.acceptor.sources().clone(),
            calls: self.shared.calls.clone(),
            answers: self.shared.answers.clone(),
            request_streams: self.shared.request_streams.clone(),
            ended: self.shared.ended.clone(),
            slowed: self.shared.slowed.clone(),
            queues: self.threads.iter().map(ServerThread::queue).collect(),
        }
    }

    /// Offers a connection to a thread, and to the others if its queue is full. Returns whether one of them took it.
    /// If none does, the connection is dropped, upon which the client backs off: queueing it would only make its
    /// handshake time out.
    fn offer(&self, turn: usize, connection: Arrival) -> bool {
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
