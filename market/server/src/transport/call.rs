//! One call on an HTTP/2 stream: its request body, and its answer, which the client has to take in time.
//!
//! An answer goes to h2 only as far as the client's flow-control window reaches; the rest stays here, where it is
//! counted and can be given up. A client that does not read within [`WRITE_PATIENCE`] loses the stream, not the
//! connection.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::Response;
use http_body::{Body, Frame};
use tokio::time::{Instant, timeout_at};

use super::answers::OpenAnswer;

/// How long a piece of an answer waits for a client that does not read. Then the stream is reset with
/// ENHANCE_YOUR_CALM, which gRPC clients report as RESOURCE_EXHAUSTED.
pub(super) const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// The rate in bytes per second at which a client must read. A large piece has this much more time.
const SLOWEST_READER: usize = 4 * 1024;

/// The body of a request. Reading it opens the client's window again, so an unread body is bounded by the window.
pub(super) struct RequestBody {
    stream: RecvStream,
    data_is_over: bool,
}

impl RequestBody {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, data_is_over: false }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.data_is_over {
            match ready!(self.stream.poll_data(context)) {
                Some(Ok(data)) => {
                    // Fails only if the stream has ended, and then nothing is to be released.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => {
                    self.data_is_over = true;
                    // A client may reset a stream with NO_ERROR when it needs no more of it (RFC 9113, section 8.1).
                    let is_end = error.reason() == Some(Reason::NO_ERROR);
                    return Poll::Ready((!is_end).then_some(Err(error)));
                }
                None => self.data_is_over = true,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(context))?;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}

/// The client has ended the stream or the connection, or does not read.
struct Gone;

/// Carries out a call and sends its answer. Dropping the call cancels it, which happens when the client resets the
/// stream.
pub(super) async fn answer<F, B, E>(call: F, mut respond: SendResponse<Bytes>, open: OpenAnswer)
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    let answered = {
        let mut call = pin!(call);
        // In a block: what the call holds, such as its place among all calls, must not outlive it.
        poll_fn(|context| match call.as_mut().poll(context) {
            Poll::Ready(answered) => Poll::Ready(Some(answered)),
            Poll::Pending => respond.poll_reset(context).map(|_| None),
        })
        .await
    };
    let response = match answered {
        Some(Ok(response)) => response,
        Some(Err(_)) => return respond.send_reset(Reason::INTERNAL_ERROR),
        None => return,
    };
    let (head, body) = response.into_parts();
    let is_all = body.is_end_stream();
    match respond.send_response(Response::from_parts(head, ()), is_all) {
        // An error means that the stream has ended meanwhile.
        Ok(stream) if !is_all => {
            let _ = send(body, stream, &open).await;
        }
        _ => {}
    }
}

async fn send<B>(body: B, mut stream: SendStream<Bytes>, open: &OpenAnswer) -> Result<(), Gone>
where
    B: Body<Data = Bytes>,
{
    let mut body = pin!(body);
    loop {
        let frame = poll_fn(|context| match body.as_mut().poll_frame(context) {
            Poll::Ready(frame) => Poll::Ready(Ok(frame)),
            Poll::Pending => stream.poll_reset(context).map(|_| Err(Gone)),
        });
        let frame = match frame.await? {
            Some(Ok(frame)) => frame,
            Some(Err(_)) => {
                stream.send_reset(Reason::INTERNAL_ERROR);
                return Err(Gone);
            }
            None => return stream.send_data(Bytes::new(), true).map_err(|_| Gone),
        };
        match frame.into_data() {
            Ok(data) => {
                let is_last = body.is_end_stream();
                send_data(&mut stream, data, is_last, open).await?;
                if is_last {
                    return Ok(());
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    return stream.send_trailers(trailers).map_err(|_| Gone);
                }
            }
        }
    }
}

/// Hands a piece of an answer to h2 as far as the client has room for it.
async fn send_data(
    stream: &mut SendStream<Bytes>,
    data: Bytes,
    is_last: bool,
    open: &OpenAnswer,
) -> Result<(), Gone> {
    let patience = WRITE_PATIENCE + Duration::from_secs((data.len() / SLOWEST_READER) as u64);
    let mut data = open.hold(data);
    // Read only if the client has no room: most have.
    let mut deadline = None;
    loop {
        stream.reserve_capacity(data.len());
        let mut room = stream.capacity();
        if room == 0 && !data.is_empty() {
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + patience);
            let Ok(waited) = timeout_at(deadline, wait_for_room(stream)).await else {
                // Drops what h2 has of the stream, too.
                stream.send_reset(Reason::ENHANCE_YOUR_CALM);
                open.stalled();
                return Err(Gone);
            };
            room = waited?;
        }
        let piece = data.split_to(room.min(data.len()));
        let is_end = data.is_empty();
        stream.send_data(piece, is_end && is_last).map_err(|_| Gone)?;
        if is_end {
            return Ok(());
        }
    }
}

async fn wait_for_room(stream: &mut SendStream<Bytes>) -> Result<usize, Gone> {
    poll_fn(|context| {
        if stream.poll_reset(context).is_ready() {
            return Poll::Ready(Err(Gone));
        }
        loop {
            match ready!(stream.poll_capacity(context)) {
                Some(Ok(0)) => {}
                Some(Ok(room)) => return Poll::Ready(Ok(room)),
                Some(Err(_)) | None => return Poll::Ready(Err(Gone)),
            }
        }
    })
    .await
}
