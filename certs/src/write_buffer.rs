//! Gathers small writes to a TLS stream, so that one flush costs one TLS record and one system call.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes gathered before they are written without a flush: the most plaintext that one TLS record carries
/// (RFC 8446 §5.1).
pub const WRITE_BUFFER_BYTES: usize = 16 * 1024;

/// A TLS stream whose writes are gathered until a flush, a shutdown, or until [`WRITE_BUFFER_BYTES`] are
/// waiting.
///
/// rustls turns every `poll_write` into a separate record, and tokio-rustls sends it at once. h2 writes an
/// answer in pieces (frame header, payload, trailers) and flushes when it has nothing more to send, so
/// without this buffer an answer costs several records and system calls.
///
/// [`is_write_vectored`](AsyncWrite::is_write_vectored) is `false` on purpose. A vectored write saves nothing
/// here, because TLS copies the bytes anyway, and h2 reads the flag: for a stream that claims vectored writes it
/// copies payloads of up to 256 bytes only into its own buffer, for others up to 1,024. Anything longer has to be
/// written before h2 accepts the next frame.
#[derive(Debug)]
pub struct WriteBuffer<S> {
    stream: S,
    /// Empty until the first write, so that a connection that never gets that far costs nothing.
    waiting: Vec<u8>,
    /// How much of `waiting` the stream has accepted.
    written: usize,
}

impl<S> WriteBuffer<S> {
    /// Buffers the writes to `stream`; reads go to it directly.
    pub fn new(stream: S) -> Self {
        WriteBuffer { stream, waiting: Vec::new(), written: 0 }
    }
}

impl<S: AsyncWrite + Unpin> WriteBuffer<S> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.waiting.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.waiting[self.written..]))? {
                // A stream that accepts nothing would otherwise be polled in an endless loop.
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                // Kept in `self`: if the next write is pending, the drain resumes here and sends no byte
                // twice.
                count => self.written += count,
            }
        }
        self.waiting.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteBuffer<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.waiting.len() == WRITE_BUFFER_BYTES {
            ready!(this.poll_drain(cx))?;
        }
        if this.waiting.is_empty() && buf.len() >= WRITE_BUFFER_BYTES {
            // Fills a record by itself: copying it would only cost time.
            return Pin::new(&mut this.stream).poll_write(cx, buf);
        }
        if this.waiting.capacity() == 0 {
            this.waiting.reserve_exact(WRITE_BUFFER_BYTES);
        }
        let accepted = buf.len().min(WRITE_BUFFER_BYTES - this.waiting.len());
        this.waiting.extend_from_slice(&buf[..accepted]);
        Poll::Ready(Ok(accepted))
    }

    fn is_write_vectored(&self) -> bool {
        false
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A shutdown implies a flush: what was accepted must not be lost with the connection.
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteBuffer<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Counts the writes that reach it; accepts a limited number of bytes at a time.
    #[derive(Default)]
    struct Sink {
        writes: Vec<usize>,
        bytes: Vec<u8>,
        limit: Option<usize>,
        is_blocked: bool,
        is_shut: bool,
    }

    impl AsyncWrite for Sink {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            if self.is_blocked {
                return Poll::Pending;
            }
            let count = buf.len().min(self.limit.unwrap_or(usize::MAX));
            self.writes.push(count);
            self.bytes.extend_from_slice(&buf[..count]);
            Poll::Ready(Ok(count))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.is_shut = true;
            Poll::Ready(Ok(()))
        }
    }

    fn write(buffer: &mut WriteBuffer<Sink>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(buffer).poll_write(&mut Context::from_waker(Waker::noop()), bytes)
    }

    fn flush(buffer: &mut WriteBuffer<Sink>) -> Poll<io::Result<()>> {
        Pin::new(buffer).poll_flush(&mut Context::from_waker(Waker::noop()))
    }

    fn accepted(poll: Poll<io::Result<usize>>) -> usize {
        match poll {
            Poll::Ready(Ok(count)) => count,
            other => panic!("not accepted: {other:?}"),
        }
    }

    #[test]
    fn pieces_of_an_answer_are_one_write() {
        let mut buffer = WriteBuffer::new(Sink::default());
        assert!(!buffer.is_write_vectored());
        for piece in [&[1; 40][..], &[2; 2_000], &[3; 30]] {
            assert_eq!(accepted(write(&mut buffer, piece)), piece.len());
        }
        assert!(buffer.stream.writes.is_empty());
        assert!(flush(&mut buffer).is_ready());
        assert_eq!(buffer.stream.writes, [2_070]);
        assert!(flush(&mut buffer).is_ready());
        assert_eq!(buffer.stream.writes, [2_070], "nothing waits, so nothing is written");
    }

    #[test]
    fn no_more_than_the_buffer_holds_ever_waits() {
        let mut buffer = WriteBuffer::new(Sink { is_blocked: true, ..Sink::default() });
        assert_eq!(accepted(write(&mut buffer, &[1; 10_000])), 10_000);
        assert_eq!(accepted(write(&mut buffer, &[2; 10_000])), WRITE_BUFFER_BYTES - 10_000);
        assert!(write(&mut buffer, &[3; 1]).is_pending(), "a full buffer pushes back");
        buffer.stream.is_blocked = false;
        assert_eq!(accepted(write(&mut buffer, &[3; 1])), 1);
        assert_eq!(buffer.stream.writes, [WRITE_BUFFER_BYTES]);
    }

    #[test]
    fn a_write_that_fills_a_record_is_not_copied() {
        let mut buffer = WriteBuffer::new(Sink::default());
        assert_eq!(accepted(write(&mut buffer, &[1; 20_000])), 20_000);
        assert_eq!((buffer.stream.writes.len(), buffer.waiting.capacity()), (1, 0));
    }

    #[test]
    fn short_writes_and_waits_lose_and_repeat_nothing() {
        let mut buffer = WriteBuffer::new(Sink { limit: Some(7), ..Sink::default() });
        let sent: Vec<u8> = (0..100).collect();
        assert_eq!(accepted(write(&mut buffer, &sent)), 100);
        buffer.stream.is_blocked = true;
        assert!(flush(&mut buffer).is_pending());
        buffer.stream.is_blocked = false;
        assert!(flush(&mut buffer).is_ready());
        assert_eq!(buffer.stream.bytes, sent);
    }

    #[test]
    fn shutdown_writes_what_waits_first() {
        let mut buffer = WriteBuffer::new(Sink::default());
        assert_eq!(accepted(write(&mut buffer, b"last words")), 10);
        let shut = Pin::new(&mut buffer).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        assert!(shut.is_ready() && buffer.stream.is_shut);
        assert_eq!(buffer.stream.bytes, b"last words");
    }
}
