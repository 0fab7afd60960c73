//! An accepted connection in the form that tonic serves.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::PeerInfo;
use super::registry::Registered;
use crate::write_buffer::WriteBuffer;

/// A TLS connection whose peer has been identified. It counts towards the acceptor's connection limits until
/// it is dropped.
#[derive(Debug)]
pub struct TlsConnection {
    stream: WriteBuffer<TlsStream<TcpStream>>,
    peer: PeerInfo,
    registered: Registered,
}

impl TlsConnection {
    pub(super) fn new(stream: TlsStream<TcpStream>, peer: PeerInfo, registered: Registered) -> Self {
        TlsConnection { stream: WriteBuffer::new(stream), peer, registered }
    }

    /// Returns the address and certificate of the other end.
    #[must_use]
    pub fn peer(&self) -> &PeerInfo {
        &self.peer
    }
}

impl Connected for TlsConnection {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.peer.clone()
    }
}

impl AsyncRead for TlsConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // HTTP/2 always has a read pending, so failing the read is what ends an idle connection. `poll_cut`
        // registers this task's waker; `is_cut` below need not, because a write is never left waiting for it.
        if self.registered.poll_cut(cx) {
            return Poll::Ready(Err(cut()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // A write could otherwise still answer a revoked party until the next read.
        if self.registered.is_cut() {
            return Poll::Ready(Err(cut()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Allowed after a cut, like shutdown: bytes accepted before it may leave, and TLS can still send `close_notify`.
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn cut() -> io::Error {
    let reason = "the connection was closed: its certificate was revoked or is no longer accepted";
    io::Error::new(io::ErrorKind::ConnectionAborted, reason)
}

/// Increments a counter while it is alive. A guard, because a handshake is a future that may be dropped at any await.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub(super) fn one(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
