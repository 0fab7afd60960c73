//! A connection whose HTTP/2 frames are counted on their way.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    ending::Ending,
    frames::{FrameBudget, FrameHeader, FrameScanner, GOAWAY},
};
use crate::observe::Talker;

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

/// A stream between TLS and HTTP/2. It reads no further once its client has sent more control frames than its calls and
/// the market's answers explain, and records why the market ends the connection.
#[derive(Debug)]
pub(super) struct Metered<S> {
    stream: S,
    received: FrameScanner,
    sent: FrameScanner,
    budget: FrameBudget,
    ending: Ending,
    talker: Talker,
}

impl<S> Metered<S> {
    /// Counts the frames of a new connection.
    pub(super) fn new(stream: S, ending: Ending, talker: Talker) -> Self {
        Self {
            stream,
            received: FrameScanner::of_client(),
            sent: FrameScanner::of_server(),
            budget: FrameBudget::new(Instant::now()),
            ending,
            talker,
        }
    }

    fn count_received(&mut self, bytes: &[u8]) {
        self.talker.add_received(bytes.len());
        let Self { received, budget, .. } = self;
        received.scan(bytes, |frame, _| budget.received(frame, Instant::now));
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
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        this.count_received(&buffer.filled()[before..]);
        if this.budget.is_spent() {
            this.ending.record("more control frames than its calls explain");
            // A read that fails has read nothing.
            buffer.set_filled(before);
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = ready!(Pin::new(&mut this.stream).poll_write(context, bytes))?;
        this.count_sent(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    // Not vectored, like the stream below it: every byte passes through `poll_write`.

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use souk_certs::identity::Identity;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::observe::TopTalkers;

    fn talker() -> Talker {
        TopTalkers::default().enter(Identity::Market)
    }

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, 0, 0, 0, 0, 0];
        frame.extend(payload);
        frame
    }

    #[tokio::test]
    async fn a_flood_of_pings_ends_the_reading_with_a_reason() {
        let flood: Vec<u8> = (0..10_000).flat_map(|_| frame(6, &[0; 8])).collect();
        let ending = Ending::new(&CancellationToken::new());
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(flood);
        let mut stream = Metered::new(&bytes[..], ending.clone(), talker());
        let error = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        assert_eq!(ending.reason(), Some("more control frames than its calls explain"));
    }

    #[tokio::test]
    async fn the_reason_of_a_goaway_is_kept_and_a_goodbye_is_none() {
        let goaway = |code: u8, debug: &[u8]| frame(GOAWAY, &[&[0, 0, 0, 9, 0, 0, 0, code], debug].concat());
        let ending = Ending::new(&CancellationToken::new());
        let mut stream = Metered::new(tokio::io::sink(), ending.clone(), talker());
        stream.write_all(&goaway(0, b"")).await.unwrap();
        assert_eq!(ending.reason(), None);
        stream.write_all(&goaway(11, b"too_many_resets")).await.unwrap();
        assert_eq!(ending.reason(), Some("GOAWAY ENHANCE_YOUR_CALM too_many_resets"));
    }
}
