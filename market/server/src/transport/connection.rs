//! Serving one connection: the limits of HTTP/2, the end at a shutdown, and the report of why the market ended it.

use std::{convert::Infallible, error::Error, time::Duration};

use http::{Request, Response};
use http_body::Body as HttpBody;
use hyper::{body::Incoming, server::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use souk_certs::acceptor::{PeerInfo, TlsConnection};
use tokio::time;
use tonic::body::Body;
use tower::{Service, ServiceExt as _, util::Oneshot};

use super::{
    ending::{EndedConnections, Ending},
    metered::Metered,
    request_streams::{OF_CONNECTION, SMALLEST_FRAME},
};

/// HTTP/2 flow-control window of a stream: the bytes that may be unread here before its sender must wait. It bounds
/// the memory of a stream whose handler is slower than its sender.
const STREAM_WINDOW: u32 = 64 * 1024;
/// HTTP/2 flow-control window of a connection with all of its streams. Data can't use it up, because the windows of the
/// streams are smaller together. Its size sets h2's limit for the overhead of small frames, as asserted below.
const CONNECTION_WINDOW: u32 = 72 * 1024 * 1024;
/// Maximum number of concurrent calls on one connection. tonic's default is unlimited.
pub(crate) const CONCURRENT_STREAMS: u32 = 256;
/// What h2 charges at most for a small frame of data that is not read yet.
const FRAME_OVERHEAD: u32 = 256;
// h2 ends a connection when that reaches half of its window. Legal clients must not be able to get there: all request
// streams with windows full of the smallest frames, and a few such frames of every other call.
const _: () = assert!(
    OF_CONNECTION * (STREAM_WINDOW / SMALLEST_FRAME) * FRAME_OVERHEAD
        + CONCURRENT_STREAMS * 4 * FRAME_OVERHEAD
        < CONNECTION_WINDOW / 2
);
/// Maximum number of calls that a client has cancelled before the market has begun them. h2 ends the connection beyond it
/// (its default is 20). A client may cancel all of its calls at once, and again while a busy thread has not looked yet.
pub(crate) const PENDING_RESETS: usize = 8 * CONCURRENT_STREAMS as usize;
/// Maximum number of resets of streams because of a client's mistakes, in the whole life of a connection. What a client
/// has sent to a call that the market had already ended counts, too.
const MISTAKES: usize = 32 * CONCURRENT_STREAMS as usize;
/// Maximum size of request metadata in bytes: a token of 2 KiB, trace context, and room for what proxies add.
const HEADER_LIST_BYTES: u32 = 16 * 1024;
/// Interval of HTTP/2 pings on an idle connection, and timeout for the reply. A peer that has vanished so loses its place
/// among the open connections within twice this time.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How long a connection that the market ends may take to receive its last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Serves the connections of a server thread.
#[derive(Clone)]
pub(super) struct ConnectionServer {
    http2: http2::Builder<TokioExecutor>,
    ended: EndedConnections,
}

impl ConnectionServer {
    /// Creates a server that counts the connections that it ends.
    pub(super) fn new(ended: EndedConnections) -> Self {
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(CONCURRENT_STREAMS)
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .max_local_error_reset_streams(MISTAKES)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADER_LIST_BYTES)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        Self { http2, ended }
    }

    /// Serves a connection until its client closes it, or `ending` asks for its end, for a reason or because the market
    /// stops. Then the client receives GOAWAY and the answers to its calls.
    pub(super) async fn serve<S, A>(self, connection: TlsConnection, ending: Ending, service: S)
    where
        S: Service<Request<Body>, Response = Response<A>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        A: HttpBody + Send + 'static,
        A::Data: Send,
        A::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let peer = connection.peer().clone();
        let io = TokioIo::new(Metered::new(connection, ending.clone()));
        let calls = Calls { service, peer: peer.clone() };
        let mut serving = std::pin::pin!(self.http2.serve_connection(io, calls));
        let served = tokio::select! {
            // First, because it is nearly always the one that is ready.
            biased;
            served = &mut serving => served,
            () = ending.asked() => {
                serving.as_mut().graceful_shutdown();
                if ending.reason().is_some() {
                    time::timeout(LAST_ANSWERS, serving).await.unwrap_or(Ok(()))
                } else {
                    serving.await
                }
            }
        };
        if let Err(error) = served {
            tracing::debug!(peer = %peer.address, %error, "a connection broke");
        }
        self.ended.report(&peer, &ending);
    }
}

/// The calls of a connection, each of which learns who its peer is.
struct Calls<S> {
    service: S,
    peer: PeerInfo,
}

impl<S, A> hyper::service::Service<Request<Incoming>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<A>> + Clone,
{
    type Response = Response<A>;
    type Error = S::Error;
    type Future = Oneshot<S, Request<Body>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.peer.clone());
        self.service.clone().oneshot(request)
    }
}
