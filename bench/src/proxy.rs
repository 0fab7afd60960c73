//! A TCP proxy between a till and its market that cuts connections after a given number of bytes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{self, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Maximum number of bytes forwarded at a time. It is small, so that a cut can hit any part of a message.
const CHUNK: usize = 512;

/// Forwards connections to the market's current address.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    market: watch::Sender<SocketAddr>,
    cutter: Arc<Cutter>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Cutter {
    /// Bytes to forward before the next cut. `u64::MAX` means that no cut is due.
    left: AtomicU64,
    /// Number of connections cut so far.
    cuts: AtomicU64,
    /// Bytes forwarded so far, in both directions.
    passed: AtomicU64,
}

impl Proxy {
    pub(crate) async fn open(market: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (market, target) = watch::channel(market);
        let cutter = Arc::new(Cutter { left: AtomicU64::new(u64::MAX), ..Cutter::default() });
        let accepting = tokio::spawn(accept(listener, target, Arc::clone(&cutter)));
        Ok(Self { address, market, cutter, accepting })
    }

    /// Forwards new connections to another address: that of the restarted market.
    pub(crate) fn point_at(&self, market: SocketAddr) {
        self.market.send_replace(market);
    }

    /// Cuts the connection that carries the byte after the next `bytes` bytes, counted over both directions.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.cutter.left.store(bytes, Ordering::SeqCst);
    }

    /// Returns the number of bytes forwarded so far, in both directions.
    pub(crate) fn passed(&self) -> u64 {
        self.cutter.passed.load(Ordering::SeqCst)
    }

    /// Returns the number of connections cut so far.
    pub(crate) fn cuts(&self) -> u64 {
        self.cutter.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: watch::Receiver<SocketAddr>, cutter: Arc<Cutter>) {
    while let Ok((client, _)) = listener.accept().await {
        let (market, cutter) = (*target.borrow(), Arc::clone(&cutter));
        tokio::spawn(async move {
            // While the market is down, the till sees a closed connection, which it must cope with too.
            let Ok(server) = TcpStream::connect(market).await else { return };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            // When either direction ends, the other is dropped too.
            tokio::select! {
                () = pass(from_client, to_server, &cutter) => {}
                () = pass(from_server, to_client, &cutter) => {}
            }
        });
    }
}

/// Forwards bytes until either end closes or the connection is cut.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, cutter: &Cutter) {
    let mut chunk = [0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        let pass = cutter.take(count as u64);
        cutter.passed.fetch_add(pass as u64, Ordering::SeqCst);
        // Bytes beyond the cut are discarded.
        if to.write_all(&chunk[..pass]).await.is_err() || pass < count {
            return;
        }
    }
}

impl Cutter {
    /// Returns how many of these bytes may pass. A cut affects only one connection: it resets `left`, so that the
    /// others continue.
    fn take(&self, bytes: u64) -> usize {
        let call_outcome = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
            u64::MAX => None,
            left if left < bytes => Some(u64::MAX),
            left => Some(left - bytes),
        });
        let pass = match call_outcome {
            Ok(left) if left < bytes => {
                self.cuts.fetch_add(1, Ordering::SeqCst);
                left
            }
            _ => bytes,
        };
        usize::try_from(pass).unwrap_or(usize::MAX)
    }
}
