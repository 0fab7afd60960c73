//! The network between a till and its market, with a knife.

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

/// Bytes that are passed on at a time: few, so that a cut falls anywhere in a message.
const CHUNK: usize = 512;

/// Passes connections on to where the market is now.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    market: watch::Sender<SocketAddr>,
    knife: Arc<Knife>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Knife {
    /// How many bytes still pass; `u64::MAX`: all.
    left: AtomicU64,
    /// Connections that were cut.
    cuts: AtomicU64,
    /// Bytes that passed.
    passed: AtomicU64,
}

impl Proxy {
    pub(crate) async fn open(market: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (market, target) = watch::channel(market);
        let knife = Arc::new(Knife { left: AtomicU64::new(u64::MAX), ..Knife::default() });
        let accepting = tokio::spawn(accept(listener, target, Arc::clone(&knife)));
        Ok(Self { address, market, knife, accepting })
    }

    /// The market is somewhere else now.
    pub(crate) fn point_at(&self, market: SocketAddr) {
        self.market.send_replace(market);
    }

    /// Cuts every connection after so many bytes more, in whichever direction.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.knife.left.store(bytes, Ordering::SeqCst);
    }

    /// How many bytes have passed so far, in both directions.
    pub(crate) fn passed(&self) -> u64 {
        self.knife.passed.load(Ordering::SeqCst)
    }

    /// How many connections were cut so far.
    pub(crate) fn cuts(&self) -> u64 {
        self.knife.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: watch::Receiver<SocketAddr>, knife: Arc<Knife>) {
    while let Ok((client, _)) = listener.accept().await {
        let (market, knife) = (*target.borrow(), Arc::clone(&knife));
        tokio::spawn(async move {
            // A market that is down is one more thing that a till has to live with.
            let Ok(server) = TcpStream::connect(market).await else { return };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            // Whichever ends first takes the other with it.
            tokio::select! {
                () = pass(from_client, to_server, &knife) => {}
                () = pass(from_server, to_client, &knife) => {}
            }
        });
    }
}

/// Passes bytes on until either end closes or the knife falls.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, knife: &Knife) {
    let mut chunk = [0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        let pass = knife.take(count as u64);
        knife.passed.fetch_add(pass as u64, Ordering::SeqCst);
        // What was cut off is gone, whatever became of the rest.
        if to.write_all(&chunk[..pass]).await.is_err() || pass < count {
            return;
        }
    }
}

impl Knife {
    /// How many of these bytes pass. The connection for which it falls takes the knife with it.
    fn take(&self, bytes: u64) -> usize {
        let taken = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
            u64::MAX => None,
            left if left < bytes => Some(u64::MAX),
            left => Some(left - bytes),
        });
        let pass = match taken {
            Ok(left) if left < bytes => {
                self.cuts.fetch_add(1, Ordering::SeqCst);
                left
            }
            _ => bytes,
        };
        usize::try_from(pass).unwrap_or(usize::MAX)
    }
}
