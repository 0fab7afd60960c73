//! An HTTP/2 connection: its limits, its calls and its end.
//!
//! On h2 itself, not through a server library: with hyper, an answer that the client does not read is out of reach. It
//! polls a body before it knows whether there is room, hands whole messages to h2, and offers no way to give up a
//! stream.

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, future::Fuse};
use h2::{Ping, PingPong, server};
use http::{Request, Response};
use http_body::Body;
use souk_certs::acceptor::TlsConnection;
use souk_proto::explain::HEADER_LIST_BYTES;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    pin, select,
    time::{Sleep, sleep, timeout},
};
use tower::{Service, ServiceExt as _};

use super::{
    answers::AnswerShare,
    busy::Busy,
    call::{self, RequestBody},
    ending::{EndedConnections, Ending},
    metered::Metered,
    refused::{Brake, RefusedRequests, SlowedConnections},
    request_streams::{OF_CONNECTION, SMALLEST_FRAME},
};
use crate::{access::KnownPeer, observe::Talker};

/// HTTP/2 flow-control window of a stream: the bytes that may be unread here before its sender must wait. It bounds
/// the memory of a stream whose handler is slower than its sender.
const STREAM_WINDOW: u32 = 64 * 1024;
/// HTTP/2 flow-control window of a connection with all of its streams. Data can't use it up, because the windows of the
/// streams are smaller together. Its size sets h2's limit for the overhead of small frames, as asserted below.
const CONNECTION_WINDOW: u32 = 72 * 1024 * 1024;
/// Maximum number of concurrent calls on one connection. h2's default is unlimited.
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
/// Maximum number of bytes of a stream that are handed to h2 and not written to the connection yet.
const SEND_BUFFER: usize = 64 * 1024;
/// Interval of HTTP/2 pings, and timeout for the reply and for the beginning of the connection. A peer that has vanished
/// so loses its place among the open connections within twice this time.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// How long a connection that the market ends may take to receive its last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Why a connection ended before its client closed it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    /// HTTP/2 failed: the client broke its rules or a limit, or the socket broke.
    #[error("{0}")]
    Http2(#[from] h2::Error),
    /// The client did not begin with HTTP/2 in time.
    #[error("the client has not begun HTTP/2 within {} s", KEEP_ALIVE.as_secs())]
    Silent,
    /// The client did not answer a ping in time.
    #[error("the client has not answered a ping within {} s", KEEP_ALIVE.as_secs())]
    Unanswered,
}

/// What the connections of a server thread share.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    pub(super) ended: EndedConnections,
    pub(super) slowed: SlowedConnections,
}

impl Connections {
    /// Serves a connection until its client closes it, or `ending` asks for its end, for a reason or because the market
    /// stops. Then the client receives GOAWAY and the answers to its calls, which run as tasks of their own.
    pub(super) async fn serve<S, B>(
        self,
        connection: TlsConnection,
        (peer, share): (KnownPeer, AnswerShare),
        (ending, refused, talker): (Ending, RefusedRequests, Talker),
        service: S,
    ) where
        S: Service<Request<tonic::body::Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        B: Body<Data = Bytes> + Send + 'static,
    {
        let brake = Brake::new(refused, self.slowed);
        let io = Metered::new(connection, brake, ending.clone(), talker.clone());
        let served = serve(io, (&peer, &share, &talker), &ending, service);
        if let Err(error) = Busy::new(served, talker.clone()).await {
            tracing::debug!(peer = %peer.address, "connection ended: {error}");
        }
        self.ended.report(&peer, &ending);
    }
}

async fn serve<IO, S, B>(
    io: IO,
    (peer, share, talker): (&KnownPeer, &AnswerShare, &Talker),
    ending: &Ending,
    service: S,
) -> Result<(), ConnectionError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<tonic::body::Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Body<Data = Bytes> + Send + 'static,
{
    let handshake = timeout(KEEP_ALIVE, builder().handshake::<_, Bytes>(io));
    let mut connection = handshake.await.map_err(|_| ConnectionError::Silent)??;
    let unanswered = keep_alive(connection.ping_pong());
    let asked = ending.asked().fuse();
    // Begins when the connection is asked to end for a reason.
    let last_answers = Fuse::<Sleep>::terminated();
    pin!(unanswered, asked, last_answers);
    loop {
        let accepted = select! {
            // In this order: the others are looked at when nothing is to be accepted.
            biased;
            accepted = connection.accept() => accepted,
            ended = &mut unanswered => return ended,
            () = &mut asked => {
                if ending.reason().is_some() {
                    last_answers.set(sleep(LAST_ANSWERS).fuse());
                }
                connection.graceful_shutdown();
                continue;
            }
            () = &mut last_answers => return Ok(()),
        };
        let Some(accepted) = accepted else { return Ok(()) };
        let (request, respond) = accepted?;
        let mut request = request.map(|body| tonic::body::Body::new(RequestBody::new(body)));
        request.extensions_mut().insert(peer.clone());
        let call = call::answer(service.clone().oneshot(request), respond, share.open());
        tokio::spawn(Busy::new(call, talker.clone()));
    }
}

fn builder() -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(CONCURRENT_STREAMS)
        .max_header_list_size(HEADER_LIST_BYTES)
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(MISTAKES));
    builder
}

/// Pings the client. Returns when it has not answered in time.
async fn keep_alive(pings: Option<PingPong>) -> Result<(), ConnectionError> {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        sleep(KEEP_ALIVE).await;
        let answered = timeout(KEEP_ALIVE, pings.ping(Ping::opaque())).await;
        answered.map_err(|_| ConnectionError::Unanswered)??;
    }
}

#[cfg(test)]
mod tests;
