//! A server thread: its runtime, and the connections assigned to it.

use std::{any::Any, future::Future, io, pin::pin, sync::Arc, thread, time::Duration};

use futures::{Stream, StreamExt as _};
use souk_certs::acceptor::{Acceptor, TlsConnection};
use tokio::{net::TcpStream, sync::mpsc, time};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{body::Body, service::Routes};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

use super::{
    Dealt, ServerOptions,
    admission::AdmissionLayer,
    connection::ConnectionServer,
    deadline::DeadlineLayer,
    ending::{EndedConnections, Ending},
    gate::{GateLayer, GateOptions},
    pulse::Pulses,
    request_streams::RequestStreams,
};
use crate::{audit::Refusals, observe::AccessLogLayer, wire};

/// Maximum number of connections queued for a thread, and of concurrent handshakes on it.
const HANDSHAKES: usize = 128;
/// Maximum time until a call's response begins, regardless of the client's deadline. Response streams may last
/// longer.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

type DealtReceiver = mpsc::Receiver<Dealt<std::net::TcpStream>>;

/// What all server threads share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) options: ServerOptions,
    pub(super) admission: AdmissionLayer,
    pub(super) streams: RequestStreams,
    pub(super) ended: EndedConnections,
    pub(super) stop: CancellationToken,
}

pub(super) struct ServerThread {
    connections: mpsc::Sender<Dealt<std::net::TcpStream>>,
    thread: thread::JoinHandle<()>,
}

impl ServerThread {
    pub(super) fn start<F, R>(
        (number, pulses): (usize, Pulses),
        shared: Shared,
        routes: Arc<F>,
    ) -> io::Result<Self>
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Routes, tonic_reflection::server::Error>>,
    {
        let (connections, dealt) = mpsc::channel(HANDSHAKES);
        // Built by the caller, so that a failure is returned from `start` and not lost on the thread.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name(format!("souk-server-{number}")).spawn(move || {
            let stop = shared.stop.clone();
            runtime.block_on(async {
                tokio::spawn(pulses.clone().beat(number));
                match routes().await {
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
    pub(super) fn queue(&self) -> mpsc::WeakSender<Dealt<std::net::TcpStream>> {
        self.connections.downgrade()
    }

    /// Assigns a connection to the thread. Returns it if the thread's queue is full.
    pub(super) fn offer(&self, dealt: Dealt) -> Option<Dealt> {
        // Reserves before taking the stream apart, so that a full queue returns it intact for the next thread.
        let Ok(permit) = self.connections.try_reserve() else { return Some(dealt) };
        let Dealt { stream, address, since, place } = dealt;
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
    let Shared { options, admission, streams, ended, stop } = shared;
    let routes = routes.prepare();
    let log = AccessLogLayer::new(options.log_format, options.times, options.random);
    let gate = GateOptions { rates: options.rates, streams, closing: stop.clone() };
    let deadline = DeadlineLayer::new(CALL_TIMEOUT);
    let server = ConnectionServer::new(ended);
    let connections = TaskTracker::new();
    {
        let mut accepted = pin!(handshakes(options.acceptor, options.refusals, dealt));
        while let Some(connection) = tokio::select! {
            connection = accepted.next() => connection,
            () = stop.cancelled() => None,
        } {
            let ending = Ending::new(&stop);
            // From the outside in. The log is outermost, to see rejected, panicked and abandoned calls too. The gate comes
            // before the guard inside `routes`, so that a flood costs no signature checks, and before admission, so that it
            // takes no places. The deadline is inside admission, so that an expired call returns its permit.
            let service = ServiceBuilder::new()
                .layer(log.clone())
                .layer(CatchPanicLayer::custom(panicked as fn(_) -> _))
                .layer(GateLayer::new(gate.clone(), ending.clone()))
                .layer(admission.clone())
                .layer(deadline.clone())
                .service(routes.clone());
            connections.spawn(server.clone().serve(connection, ending, service));
        }
        // Handshakes in progress end here.
    }
    connections.close();
    if time::timeout(options.drain, connections.wait()).await.is_err() {
        tracing::warn!("some calls were still in progress at the end of the drain");
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
    refusals: Refusals,
    dealt: DealtReceiver,
) -> impl Stream<Item = TlsConnection> {
    ReceiverStream::new(dealt)
        .map(move |Dealt { stream, address, since, place }| {
            let (acceptor, refusals) = (acceptor.clone(), refusals.clone());
            async move {
                let accepted = acceptor.accept_since(since, TcpStream::from_std(stream)?, address).await;
                // The permit covers handshakes only. From here on the limits of the registry bound the
                // connection.
                drop(place);
                accepted.map_err(|error| {
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
