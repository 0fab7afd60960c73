//! A connection whose HTTP/2 frames are counted on their way.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};

use super::{
    ending::Ending,
    frames::{FrameBudget, FrameHeader, FrameScanner, GOAWAY, HEADERS},
    refused::Brake,
};
use crate::observe::Talker;

/// Bytes and calls that a connection reads before the others of its thread get their turn. h2 decodes everything that
/// it can read, and tokio would let it read about 2 MiB: 10 ms of metadata, or 60,000 calls.
const TURN_BYTES: usize = 64 * 1024;
const TURN_CALLS: usize = 64;
/// Maximum number of bytes read at once, so that a turn ends soon after its calls are read.
const PIECE_BYTES: u64 = 4 * 1024;
/// Bytes that are still read after the market has decided to end the connection: what the client sent before it noticed,
/// and what it must send to receive its last answers.
const LAST_BYTES: usize = 64 * 1024;
/// Maximum length in bytes of what h2 adds to a GOAWAY frame and the log repeats.
const MAX_DEBUG_DATA: usize = 64;
/// The names of the error codes, in order (RFC 9113 §7).
const ERROR_CODES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

/// A stream between TLS and HTTP/2. It lets the other connections of its thread have their turn, pauses after many
/// refused requests, reads no further once its client has sent more control frames than its calls and the market's
/// answers explain, and records why the market ends the connection.
#[derive(Debug)]
pub(super) struct Metered<S> {
    stream: Take<S>,
    received: FrameScanner,
    sent: FrameScanner,
    budget: FrameBudget,
    turn: Turn,
    brake: Brake,
    /// Bytes read since the market has decided to end the connection.
    last: usize,
    ending: Ending,
    talker: Talker,
}

/// What a connection has read since the others of its thread had their turn.
#[derive(Debug, Default)]
struct Turn {
    bytes: usize,
    calls: usize,
}

impl Turn {
    fn is_over(&self) -> bool {
        self.bytes >= TURN_BYTES || self.calls >= TURN_CALLS
    }
}

impl<S: AsyncRead> Metered<S> {
    /// Counts the frames of a new connection.
    pub(super) fn new(stream: S, brake: Brake, ending: Ending, talker: Talker) -> Self {
        Self {
            stream: stream.take(PIECE_BYTES),
            received: FrameScanner::of_client(),
            sent: FrameScanner::of_server(),
            budget: FrameBudget::new(Instant::now()),
            turn: Turn::default(),
            brake,
            last: 0,
            ending,
            talker,
        }
    }

    fn count_received(&mut self, bytes: &[u8]) {
        self.talker.add_received(bytes.len());
        if self.ending.reason().is_some() {
            self.last += bytes.len();
        }
        let Self { received, budget, turn, .. } = self;
        turn.bytes += bytes.len();
        received.scan(bytes, |frame, _| {
            turn.calls += usize::from(frame.kind == HEADERS);
            budget.received(frame, Instant::now);
        });
    }

    /// Returns whether the connection must read no further.
    fn has_read_enough(&self) -> bool {
        if self.budget.is_spent() {
            self.ending.record("more control frames than its calls explain");
            return true;
        }
        self.last >= LAST_BYTES
    }

    fn count_sent(&mut self, bytes: &[u8]) {
        self.talker.add_sent(bytes.len());
        let Self { sent, budget, ending, .. } = self;
        sent.scan(bytes, |frame, payload| {
            budget.sent(frame, Instant::now);
            note_goaway(frame, payload, ending);
        });
    }
}

/// Records the error in a GOAWAY frame. h2 writes such a frame in one piece, and its own error says less than the frame.
fn note_goaway(frame: FrameHeader, payload: &[u8], ending: &Ending) {
    if frame.kind != GOAWAY {
        return;
    }
    // The first four bytes are the last stream, then comes the error code.
    let Some((code, debug)) = payload.get(4..).and_then(<[u8]>::split_first_chunk) else { return };
    let code = u32::from_be_bytes(*code);
    if code == 0 {
        return;
    }
    let name = usize::try_from(code).ok().and_then(|code| ERROR_CODES.get(code)).unwrap_or(&"unknown error");
    let debug = String::from_utf8_lossy(&debug[..debug.len().min(MAX_DEBUG_DATA)]);
    ending.record(format!("GOAWAY {name} {debug}").trim_end().to_owned());
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.turn.is_over() {
            this.turn = Turn::default();
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(this.brake.poll_release(context));
        // Checked before a piece is read, not after: h2 may still report an error in the last one.
        if this.has_read_enough() {
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        let before = buffer.filled().len();
        this.stream.set_limit(PIECE_BYTES);
        if Pin::new(&mut this.stream).poll_read(context, buffer)?.is_pending() {
            this.turn = Turn::default();
            return Poll::Pending;
        }
        this.count_received(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = ready!(Pin::new(this.stream.get_mut()).poll_write(context, bytes))?;
        this.count_sent(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    // Not vectored, like the stream below it: every byte passes through `poll_write`.

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use souk_certs::identity::Identity;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_util::sync::CancellationToken;

    use super::{
        super::refused::{RefusedRequests, SlowedConnections},
        *,
    };
    use crate::observe::TopTalkers;

    fn metered<S: AsyncRead>(stream: S, ending: &Ending) -> Metered<S> {
        let brake = Brake::new(RefusedRequests::default(), SlowedConnections::default());
        Metered::new(stream, brake, ending.clone(), TopTalkers::default().enter(Identity::Market))
    }

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let [.., high, middle, low] = payload.len().to_be_bytes();
        let mut frame = vec![high, middle, low, kind, 0, 0, 0, 0, 0];
        frame.extend(payload);
        frame
    }

    #[tokio::test]
    async fn a_flood_of_pings_ends_the_reading_with_a_reason() {
        let flood: Vec<u8> = (0..10_000).flat_map(|_| frame(6, &[0; 8])).collect();
        let ending = Ending::new(&CancellationToken::new());
        let bytes = [PREFACE, &flood].concat();
        let mut stream = metered(&bytes[..], &ending);
        let error = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        assert_eq!(ending.reason(), Some("more control frames than its calls explain"));
    }

    #[tokio::test]
    async fn a_connection_that_always_has_something_to_read_gives_way() {
        let data = [PREFACE, &frame(0, &[0; 16_000]).repeat(100)].concat();
        let calls = [PREFACE, &frame(1, &[0x82]).repeat(4_000)].concat();
        for (bytes, turns) in [(&data, data.len() / TURN_BYTES), (&calls, 4_000 / 512)] {
            let mut stream = metered(&bytes[..], &Ending::new(&CancellationToken::new()));
            let mut context = Context::from_waker(std::task::Waker::noop());
            let (mut read, mut pauses) = (0, 0);
            let mut buffer = vec![0; 16_384];
            while read < bytes.len() {
                let mut buffer = ReadBuf::new(&mut buffer);
                match Pin::new(&mut stream).poll_read(&mut context, &mut buffer) {
                    Poll::Ready(outcome) => outcome.unwrap(),
                    Poll::Pending => pauses += 1,
                }
                read += buffer.filled().len();
            }
            assert!(pauses >= turns, "{pauses} pauses in {} bytes", bytes.len());
        }
    }

    #[tokio::test]
    async fn little_is_read_after_the_end_is_decided() {
        let data = [PREFACE, &frame(0, &[0; 1_000]).repeat(1_000)].concat();
        let ending = Ending::new(&CancellationToken::new());
        let mut stream = metered(&data[..], &ending);
        let mut piece = [0; 1_009];
        stream.read_exact(&mut piece).await.unwrap();
        ending.ask("nothing but refused requests");
        let mut read = 0;
        while let Ok(more @ 1..) = stream.read(&mut piece).await {
            read += more;
        }
        assert!((LAST_BYTES..LAST_BYTES + piece.len()).contains(&read), "{read}");
    }

    #[tokio::test]
    async fn the_reason_of_a_goaway_is_kept_and_a_goodbye_is_none() {
        let goaway = |code: u8, debug: &[u8]| frame(GOAWAY, &[&[0, 0, 0, 9, 0, 0, 0, code], debug].concat());
        let ending = Ending::new(&CancellationToken::new());
        let mut stream = metered(tokio::io::join(tokio::io::empty(), tokio::io::sink()), &ending);
        stream.write_all(&goaway(0, b"")).await.unwrap();
        assert_eq!(ending.reason(), None);
        stream.write_all(&goaway(11, b"too_many_resets")).await.unwrap();
        assert_eq!(ending.reason(), Some("GOAWAY ENHANCE_YOUR_CALM too_many_resets"));
    }
}
