//! A gate in front of a market: an address that can go down, freeze and come back.

#![expect(clippy::expect_used, reason = "a test whose setup fails has failed")]

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::port::Port;

/// The maximum number of bytes forwarded at a time.
const CHUNK: usize = 4_096;

/// A TCP proxy in front of a market, which a test can shut, reopen and freeze.
pub struct Gate {
    /// The address on which it listens; the port stays the same after each [`reopen`](Self::reopen).
    pub address: SocketAddr,
    port: Port,
    market: SocketAddr,
    frozen: watch::Sender<bool>,
    passing: JoinHandle<()>,
}

impl Gate {
    /// Listens on a free loopback port and forwards to `market`.
    pub async fn open(market: SocketAddr) -> Self {
        let port = Port::take(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        let listener = port.listen().await.expect("a socket");
        let frozen = watch::Sender::new(false);
        let passing = tokio::spawn(accept(listener, market, frozen.clone()));
        Self { address: port.address(), port, market, frozen, passing }
    }

    /// Closes every connection, and refuses further ones.
    pub async fn shut(&mut self) {
        self.passing.abort();
        // Wait until the task has ended and its sockets are closed. Its result does not matter.
        let _ = (&mut self.passing).await;
    }

    /// Accepts connections again, at the same address, after it was shut.
    pub async fn reopen(&mut self) {
        let listener = self.port.listen().await.expect("the same socket");
        self.passing = tokio::spawn(accept(listener, self.market, self.frozen.clone()));
    }

    /// Reopens after it was shut, when it has turned away this many connections.
    pub async fn reopen_after(&mut self, turned_away: usize) {
        let listener = self.port.listen().await.expect("the same socket");
        for _ in 0..turned_away {
            drop(listener.accept().await.expect("a connection"));
        }
        drop(listener);
        self.reopen().await;
    }

    /// While frozen, it accepts connections but forwards nothing in either direction.
    pub fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.passing.abort();
    }
}

async fn accept(listener: TcpListener, market: SocketAddr, frozen: watch::Sender<bool>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let frozen = frozen.subscribe();
        connections.spawn(async move {
            let Ok(server) = TcpStream::connect(market).await else { return };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            // When either direction ends, the other is dropped too.
            tokio::select! {
                () = pass(from_client, to_server, frozen.clone()) => {}
                () = pass(from_server, to_client, frozen) => {}
            }
        });
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut frozen: watch::Receiver<bool>,
) {
    let mut chunk = [0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        if frozen.wait_for(|frozen| !frozen).await.is_err() || to.write_all(&chunk[..count]).await.is_err() {
            return;
        }
    }
}
