//! The connections of the admin port, with limits: it has no authentication, and its connections use the descriptors of
//! the market.

use std::{
    future::Future as _,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use souk_certs::acceptor::{self, AcceptorLimits, Arrival, Place, Sources};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{self, Sleep},
};

/// Maximum number of open connections. A scrape and a health check need one each, for some milliseconds.
pub const ADMIN_CONNECTIONS: usize = 64;
/// Maximum number of open connections of one address.
const CONNECTIONS_OF_ADDRESS: usize = 16;
/// Maximum number of connections that wait for one of those, a quarter of them of one address.
pub const ADMIN_WAITING: usize = 64;
/// Maximum duration of a connection, which serves one request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections per second of one address, beyond which they wait.
const RATE_OF_ADDRESS: u32 = 1_000;

/// Accepts connections to the admin port.
#[derive(Debug)]
pub(super) struct AdminListener(acceptor::Listener);

/// A connection to the admin port, which ends after [`CONNECTION_TIMEOUT`] whatever its peer does.
#[derive(Debug)]
pub(super) struct AdminConnection {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _place: Place,
}

/// Creates the shares of the addresses that connect to the admin port.
pub(super) fn shares() -> Sources {
    Sources::new(AcceptorLimits {
        handshakes: ADMIN_CONNECTIONS,
        handshakes_of_address: CONNECTIONS_OF_ADDRESS,
        handshakes_per_second_of_address: RATE_OF_ADDRESS,
        waiting: ADMIN_WAITING,
        ..AcceptorLimits::default()
    })
}

impl AdminListener {
    pub(super) fn new(listener: TcpListener, shares: Sources) -> Self {
        Self(acceptor::Listener::new(listener, shares, Vec::new()))
    }
}

impl Listener for AdminListener {
    type Io = AdminConnection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (AdminConnection, SocketAddr) {
        let Arrival { stream, address, place, .. } = self.0.next().await;
        let end = Box::pin(time::sleep(CONNECTION_TIMEOUT));
        (AdminConnection { stream, end, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl AdminConnection {
    fn poll_end(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.end.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for AdminConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_end(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for AdminConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_end(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
