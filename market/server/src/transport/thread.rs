//! A server thread: its runtime, and the connections assigned to it.

use std::{any::Any, io, net::SocketAddr, pin::pin, sync::Arc, thread, time::Duration};

use futures::{Stream, StreamExt as _};
use prost::DecodeError;
use souk_certs::acceptor::{Acceptor, Arrival, Place, TlsConnection};
use souk_proto::explain::ExplainLayer;
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{self, Instant},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{body::Body, service::Routes};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

use super::{
    ServerOptions,
    admission::Calls,
    answers::Answers,
    connection::Connections,
    deadline::DeadlineLayer,
    ending::{EndedConnections, Ending},
    first_frame::FirstFrameLayer,
    gate::{GateLayer, GateOptions},
    pulse::Pulses,
    refused::{RefusedRequests, SlowedConnections},
    request_streams::RequestStreams,
};
use crate::{
    access::KnownPeer,
    audit::Refusals,
    observe::{AccessLogLayer, AccessLogOptions, TopTalkers},
    wire,
};

/// Maximum number of connections queued for a thread, and of concurrent handshakes on it.
const HANDSHAKES: usize = 128;
/// Maximum time until a call's response begins, regardless of the client's deadline. Response streams may last
/// longer.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// An accepted connection on its way to a server thread.
pub(super) struct Dealt {
    stream: std::net::TcpStream,
    address: SocketAddr,
    /// When it was accepted, or its turn came. The handshake timeout counts from here, including the wait in the
    /// thread's queue.
    since: Instant,
    place: Place,
}

impl Dealt {
    /// Registers the stream with the runtime of this thread.
    fn into_arrival(self) -> io::Result<Arrival> {
        let Self { stream, address, since, place } = self;
        Ok(Arrival { stream: TcpStream::from_std(stream)?, address, since, place })
    }
}

type DealtReceiver = mpsc::Receiver<Dealt>;

/// What all server threads share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) options: ServerOptions,
    pub(super) calls: Calls,
    pub(super) answers: Answers,
    pub(super) request_streams: RequestStreams,
    pub(super) ended: EndedConnections,
    pub(super) slowed: SlowedConnections,
    pub(super) stop: CancellationToken,
}

pub(super) struct ServerThread {
    connections: mpsc::Sender<Dealt>,
    thread: thread::JoinHandle<()>,
}

impl ServerThread {
    pub(super) fn start<F>(
        (number, pulses): (usize, Pulses),
        shared: Shared,
        routes: Arc<F>,
    ) -> io::Result<Self>
    where
        F: Fn() -> Result<Routes, DecodeError> + Send + Sync + 'static,
    {
        let (connections, dealt) = mpsc::channel(HANDSHAKES);
        // Built by the caller, so that a failure is returned from `start` and not lost on the thread.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name(format!("souk-server-{number}")).spawn(move || {
            let stop = shared.stop.clone();
            runtime.block_on(async {
                tokio::spawn(pulses.clone().beat(number));
                match routes() {
                    Ok(services) => serve(services, shared, dealt).await,
                    Err(error) => tracing::error!(%error, "cannot build the services"),
                }
            });
            drop(routes);
            // A thread that ends without a shutdown has failed. Its heartbeat goes stale, which the health check
            // reports.
            if stop.is_cancelled() {
                pulses.end(number);
            }
            // Tasks that are still running have used up the drain time.
            runtime.shutdown_timeout(Duration::ZERO);
        })?;
        Ok(Self { connections, thread })
    }

    /// Returns the queue of connections for the thread, without keeping it open.
    pub(super) fn queue(&self) -> mpsc::WeakSender<Dealt> {
        self.connections.downgrade()
    }

    /// Assigns a connection to the thread. Returns it if the thread's queue is full.
    pub(super) fn offer(&self, arrival: Arrival) -> Option<Arrival> {
        // Reserves before taking the stream apart, so that a full queue returns it intact for the next thread.
        let Ok(permit) = self.connections.try_reserve() else { return Some(arrival) };
        let Arrival { stream, address, since, place } = arrival;
        // Deregister the stream from this runtime; the thread registers it with its own.
        match stream.into_std() {
            Ok(stream) => permit.send(Dealt { stream, address, since, place }),
            Err(error) => {
                tracing::debug!(peer = %address, %error, "lost a connection right after accepting it")
            }
        }
        None
    }

    pub(super) fn join(self) {
        drop(self.connections);
        if self.thread.join().is_err() {
            tracing::error!("a server thread panicked");
        }
    }
}

/// Serves connections until the market stops, and then at most for the drain time.
async fn serve(routes: Routes, shared: Shared, dealt: DealtReceiver) {
    let Shared { options, calls, answers, request_streams, ended, slowed, stop } = shared;
    let log = AccessLogOptions::new(options.log_format, &options.times, options.random);
    let deadline = DeadlineLayer::new(CALL_TIMEOUT, request_streams.clone());
    let gate = GateOptions { rates: options.rates, streams: request_streams, closing: stop.clone() };
    let connections = Connections { ended, slowed };
    let open = TaskTracker::new();
    let connected = handshakes(options.acceptor, (options.refusals, options.talkers.clone()), dealt);
    accept(connected, &stop, |connection| {
        let (ending, refused) = (Ending::new(&stop), RefusedRequests::default());
        let peer = connection.peer().clone();
        let party = peer.certificate.identity();
        // Found once, so that a call needs no look-up and no lock.
        let (talker, share) = (options.talkers.enter(party), answers.share(party));
        // From the outside in. The log is outermost, to see rejected, panicked and abandoned calls too, with the status
        // that the caller gets. The gate comes next, so that it counts every request, and before anything that costs
        // much: before admission, so that a refused call takes no place, and before the guard inside `routes`, so that a
        // flood costs no signature checks. Everything whose errors need a reason is inside `ExplainLayer`; the gate's own
        // have one. The deadline is inside admission, so that an expired call returns its permit.
        let service = ServiceBuilder::new()
            .layer(AccessLogLayer::new(&log, talker.clone(), peer.clone()))
            .layer(GateLayer::new(&gate, party, (refused.clone(), ending.clone())))
            .layer(ExplainLayer)
            .layer(CatchPanicLayer::custom(panicked as fn(_) -> _))
            .layer(FirstFrameLayer::new(share.clone()))
            .layer(calls.admission(party))
            .layer(deadline.clone())
            .service(routes.clone());
        let of_peer = (KnownPeer::new(peer), share);
        open.spawn(connections.clone().serve(connection, of_peer, (ending, refused, talker), service));
    })
    .await;
    open.close();
    let overdue = async {
        stop.cancelled().await;
        time::sleep(options.drain).await;
    };
    tokio::select! {
        () = open.wait() => {}
        () = overdue => tracing::warn!("some calls were still in progress at the end of the drain"),
    }
}

/// Accepts connections until the drain begins. Those whose handshake is not over by then are dropped.
async fn accept(
    connections: impl Stream<Item = TlsConnection>,
    stop: &CancellationToken,
    mut begin: impl FnMut(TlsConnection),
) {
    let mut connections = pin!(connections);
    while let Some(Some(connection)) = stop.run_until_cancelled(connections.next()).await {
        begin(connection);
    }
}

/// Returns INTERNAL for a call that panicked, so that a bug affects only that call and not its connection. The panic
/// hook has logged the panic.
fn panicked(_: Box<dyn Any + Send>) -> http::Response<Body> {
    wire::internal("a call panicked").into_http()
}

/// Performs the handshakes of this thread's connections concurrently, and yields the successful ones. A failed
/// handshake is logged and does not affect the others.
fn handshakes(
    acceptor: Acceptor,
    (refusals, talkers): (Refusals, TopTalkers),
    dealt: DealtReceiver,
) -> impl Stream<Item = TlsConnection> {
    ReceiverStream::new(dealt)
        .map(move |dealt| {
            let (acceptor, refusals, talkers) = (acceptor.clone(), refusals.clone(), talkers.clone());
            async move {
                let address = dealt.address;
                // The place covers the handshake only. From here on the limits of the registry bound the connection.
                let accepted = acceptor.accept_arrival(dealt.into_arrival()?).await;
                accepted.map_err(|error| {
                    if error.is_of_peer() {
                        talkers.handshake_failed(address.ip());
                    }
                    let about_identity = error.about_identity();
                    let cause = about_identity.unwrap_or_default();
                    tracing::info!(peer = %address, cause, "connection rejected: {error}");
                    // Only rejected identities are audited. Timeouts and broken sockets say nothing about a
                    // party, and a port scan would fill the audit log.
                    if let Some(why) = about_identity {
                        refusals.add(None, Some(address.ip()), why);
                    }
                    io::Error::other(error)
                })
            }
        })
        // Unordered, so that a client which stalls its handshake does not hold up those accepted after it.
        .buffer_unordered(HANDSHAKES)
        .filter_map(|accepted: io::Result<_>| std::future::ready(accepted.ok()))
}
