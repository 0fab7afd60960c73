//! One server thread: a runtime of its own, and the connections that it was dealt.

use std::{any::Any, future::Future, io, sync::Arc, thread, time::Duration};

use futures::{Stream, StreamExt as _};
use souk_certs::acceptor::{Acceptor, TlsConnection};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    time,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, service::Routes, transport};
use tower_http::catch_panic::CatchPanicLayer;

use super::{Dealt, ServerOptions, admission::AdmissionLayer, deadline::DeadlineLayer, pulse::Pulses};
use crate::{audit::Refusals, observe::AccessLogLayer, wire};

/// Bytes that one stream may have unread here: then its sender waits.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same for a connection with all of its streams. h2 ends a connection with ENHANCE_YOUR_CALM when half of this
/// is taken by small unread frames, their overhead counted in; so one stream of tiny messages, each in a
/// frame of its own, must not come near it.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// New connections that wait for a thread's attention, and handshakes under way on it.
const HANDSHAKES: usize = 128;
/// Calls under way on one connection.
const CONCURRENT_STREAMS: u32 = 256;
/// Request metadata, in bytes.
const HEADER_LIST_BYTES: u32 = 16 * 1024;
/// A client that is silent for this long is asked whether it is still there, and has as long to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// The longest that a call may take to be answered, whatever its deadline. Streams may go on for longer.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

type DealtReceiver = mpsc::Receiver<Dealt<std::net::TcpStream>>;

pub(super) struct ServerThread {
    connections: mpsc::Sender<Dealt<std::net::TcpStream>>,
    thread: thread::JoinHandle<()>,
}

impl ServerThread {
    pub(super) fn start<F, R>(
        (number, pulses): (usize, Pulses),
        options: (ServerOptions, AdmissionLayer),
        stop: CancellationToken,
        routes: Arc<F>,
    ) -> io::Result<Self>
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Routes, tonic_reflection::server::Error>>,
    {
        let (connections, dealt) = mpsc::channel(HANDSHAKES);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name(format!("souk-server-{number}")).spawn(move || {
            let ended = stop.clone();
            runtime.block_on(async {
                tokio::spawn(pulses.clone().beat(number));
                match routes().await {
                    Ok(services) => serve(services, options, dealt, stop).await,
                    Err(error) => tracing::error!(%error, "the services can't be put together"),
                }
            });
            drop(routes);
            // One that ends by itself has failed, and its pulse is missed.
            if ended.is_cancelled() {
                pulses.end(number);
            }
            // What is left over has had its time.
            runtime.shutdown_timeout(Duration::ZERO);
        })?;
        Ok(Self { connections, thread })
    }

    /// Deals a connection to the thread; gives it back when the thread is too busy.
    pub(super) fn offer(&self, dealt: Dealt) -> Option<Dealt> {
        let Ok(permit) = self.connections.try_reserve() else { return Some(dealt) };
        let Dealt { stream, address, since, place } = dealt;
        // The stream moves to the thread's own runtime.
        match stream.into_std() {
            Ok(stream) => permit.send(Dealt { stream, address, since, place }),
            Err(error) => tracing::debug!(peer = %address, %error, "a connection was lost at once"),
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

async fn serve(
    routes: Routes,
    (options, admission): (ServerOptions, AdmissionLayer),
    dealt: DealtReceiver,
    stop: CancellationToken,
) {
    let (began, drain_begins) = oneshot::channel();
    let stopped = async move {
        stop.cancelled().await;
        // The receiver is gone only when serving has ended by itself.
        let _ = began.send(());
    };
    let serving = transport::Server::builder()
        .max_concurrent_streams(CONCURRENT_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_header_list_size(HEADER_LIST_BYTES)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .layer(AccessLogLayer::new(options.log_format, options.times, options.random))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(admission)
        .layer(DeadlineLayer::new(CALL_TIMEOUT))
        .serve_with_incoming_shutdown(routes, handshakes(options.acceptor, options.refusals, dealt), stopped);
    let overdue = async move {
        if drain_begins.await.is_err() {
            std::future::pending::<()>().await;
        }
        time::sleep(options.drain).await;
    };
    tokio::select! {
        served = serving => {
            if let Err(error) = served {
                tracing::error!(%error, "a server thread ended");
            }
        }
        () = overdue => tracing::warn!("some calls were still under way at the end of the drain"),
    }
}

/// A defect in one call is that call's alone. The panic itself is told by the log.
fn panicked(_: Box<dyn Any + Send>) -> http::Response<Body> {
    wire::internal("a call panicked").into_http()
}

/// Does the handshakes of this thread's connections side by side. A failed one is logged and costs nobody
/// else anything.
fn handshakes(
    acceptor: Acceptor,
    refusals: Refusals,
    dealt: DealtReceiver,
) -> impl Stream<Item = io::Result<TlsConnection>> {
    ReceiverStream::new(dealt)
        .map(move |Dealt { stream, address, since, place }| {
            let (acceptor, refusals) = (acceptor.clone(), refusals.clone());
            async move {
                let accepted = acceptor.accept_since(since, TcpStream::from_std(stream)?, address).await;
                drop(place);
                accepted.map_err(|error| {
                    let about_identity = error.about_identity();
                    let cause = about_identity.unwrap_or_default();
                    tracing::info!(peer = %address, cause, "a connection was refused: {error}");
                    if let Some(why) = about_identity {
                        refusals.add(None, Some(address.ip()), why);
                    }
                    io::Error::other(error)
                })
            }
        })
        .buffer_unordered(HANDSHAKES)
        .filter_map(|accepted| std::future::ready(accepted.ok().map(Ok)))
}
