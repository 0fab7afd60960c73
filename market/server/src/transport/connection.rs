//! An HTTP/2 connection: its limits, its calls and its end.
//!
//! On h2 itself, not through a server library: with hyper, an answer that the client does not read is out of reach. It
//! polls a body before it knows whether there is room, hands whole messages to h2, and offers no way to give up a
//! stream.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use h2::{Ping, PingPong, server};
use http::{Request, Response};
use http_body::Body;
use souk_certs::acceptor::PeerInfo;
use souk_proto::explain::HEADER_LIST_BYTES;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    pin, select,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};

use super::{
    answers::Answers,
    call::{self, RequestBody},
};

/// HTTP/2 flow-control window of a stream: the bytes that may be unread here before its sender must wait. It bounds
/// the memory of a stream whose handler is slower than its sender.
const STREAM_WINDOW: u32 = 64 * 1024;
/// HTTP/2 flow-control window of a connection with all of its streams. h2 closes a connection with
/// ENHANCE_YOUR_CALM when small unread frames, each charged with an overhead of up to 256 bytes, take up half
/// of this window. A stream of tiny messages, each in a separate frame, must stay far below that.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// Maximum number of concurrent calls on one connection. h2's default is unlimited.
const CONCURRENT_STREAMS: u32 = 256;
/// Maximum number of bytes of a stream that are handed to h2 and not written to the connection yet.
const SEND_BUFFER: usize = 64 * 1024;
/// Maximum number of streams that h2 itself has reset because of errors, before it closes the connection
/// (RUSTSEC-2024-0003).
const LOCAL_ERROR_RESETS: usize = 1_024;
/// Interval of HTTP/2 pings, and timeout for the reply and for the beginning of the connection. A peer that has vanished
/// so loses its place among the open connections within twice this time.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

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
    pub(super) answers: Answers,
    /// Ends connections as soon as their calls are over.
    pub(super) stop: CancellationToken,
}

impl Connections {
    /// Serves a connection until it ends. The calls run as tasks of their own.
    pub(super) async fn serve<IO, S, B>(
        self,
        io: IO,
        peer: PeerInfo,
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
        let share = self.answers.share(peer.certificate.identity());
        let unanswered = keep_alive(connection.ping_pong());
        let stopped = self.stop.cancelled();
        pin!(unanswered, stopped);
        let mut is_stopping = false;
        loop {
            let accepted = select! {
                // In this order: the others are looked at when nothing is to be accepted.
                biased;
                accepted = connection.accept() => accepted,
                ended = &mut unanswered => return ended,
                () = &mut stopped, if !is_stopping => {
                    is_stopping = true;
                    connection.graceful_shutdown();
                    continue;
                }
            };
            let Some(accepted) = accepted else { return Ok(()) };
            let (request, respond) = accepted?;
            let mut request = request.map(|body| tonic::body::Body::new(RequestBody::new(body)));
            request.extensions_mut().insert(peer.clone());
            request.extensions_mut().insert(share.clone());
            tokio::spawn(call::answer(service.clone().oneshot(request), respond, share.open()));
        }
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
        .max_local_error_reset_streams(Some(LOCAL_ERROR_RESETS));
    builder
}

/// Pings the client. Returns when it has not answered in time.
fn keep_alive(pings: Option<PingPong>) -> impl Future<Output = Result<(), ConnectionError>> {
    async move {
        let Some(mut pings) = pings else { return std::future::pending().await };
        loop {
            sleep(KEEP_ALIVE).await;
            match timeout(KEEP_ALIVE, pings.ping(Ping::opaque())).await {
                Ok(answered) => drop(answered?),
                Err(_) => return Err(ConnectionError::Unanswered),
            }
        }
    }
}

#[cfg(test)]
mod tests;
