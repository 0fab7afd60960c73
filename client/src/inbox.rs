//! The callback server, to which the market delivers a party's events.
//!
//! It accepts only the market, which it identifies by its certificate. For the handling of events and the
//! guarantees, see [`delivery`](crate::delivery).

mod announce;
mod service;

use std::{net::SocketAddr, time::Duration};

use souk_certs::{
    acceptor::{self, Acceptor, AcceptorLimits},
    credentials::Credentials,
    listener,
    server::{ClientPolicy, server_config},
};
use souk_proto::{
    explain::{ExplainLayer, HEADER_LIST_BYTES},
    v1::notification_service_server::NotificationServiceServer,
};
use time::OffsetDateTime;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tonic::{codec::CompressionEncoding, transport::Server};

use crate::{Connection, Error, Notice, Seen, delivery::QUEUE};
pub use announce::ANNOUNCE_EVERY;

/// The maximum size of a message, in bytes. The market sends at most 256 KiB.
pub const MAX_MESSAGE_BYTES: usize = 512 * 1024;

/// The maximum number of events in one call.
pub const MAX_EVENTS: usize = 64;

/// The maximum number of concurrent calls on one connection; the market makes one.
const MAX_CALLS: u32 = 8;

/// The maximum number of concurrent TLS handshakes; further ones wait. A quarter is kept for addresses from which the
/// market has connected before.
const MAX_HANDSHAKES: usize = 16;

/// The maximum number of connections. Only the market may connect, and it needs one.
const MAX_CONNECTIONS: usize = 16;

/// The maximum number of concurrent TLS handshakes of one address, so that silent hosts leave places for the market.
const MAX_HANDSHAKES_OF_ADDRESS: usize = 4;

/// The sustained rate of handshakes from one address; failed ones count ten times. The market keeps its connection.
const HANDSHAKES_PER_SECOND_OF_ADDRESS: u32 = 20;

/// The maximum number of connections that wait for their handshake, a quarter of them of one address.
const MAX_WAITING: usize = 128;

/// The timeout of a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often an idle connection is checked, and the timeout of the check, so that the connections of a market
/// that has vanished do not accumulate.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(10));

/// How long [`Inbox::close`] waits for calls in progress.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// An open callback server. Dropping it stops it at once; [`close`](Self::close) lets calls finish.
#[derive(Debug)]
pub struct Inbox {
    address: SocketAddr,
    acceptor: Acceptor,
    notices: mpsc::Sender<Notice>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
    announcements: Option<JoinHandle<()>>,
}

impl Inbox {
    /// Binds the callback server's socket. Port 0 chooses a free port.
    ///
    /// # Errors
    /// The address is in use or does not belong to this machine.
    pub async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
        listener::bind(address).await.map_err(|error| Error::io(format!("listen on {address}"), error))
    }

    /// Serves the party of `credentials` on a bound socket. Events come out of the receiver, which holds
    /// [`QUEUE`] of them; while it is full, the market is asked to retry later.
    ///
    /// The market calls the address that the party registered: see
    /// [`Account::register_buyer`](crate::Account::register_buyer).
    ///
    /// # Examples
    /// ```no_run
    /// use souk_client::{Inbox, Notice, Seen};
    ///
    /// # async fn serve(credentials: souk_certs::credentials::Credentials) -> Result<(), souk_client::Error> {
    /// let listener = Inbox::bind(([0, 0, 0, 0], 7444).into()).await?;
    /// let (inbox, mut notices) = Inbox::open(listener, &credentials, Seen::in_memory())?;
    /// while let Some(notice) = notices.recv().await {
    ///     if let Notice::Event(delivery) = notice {
    ///         println!("{:?}", delivery.take().kind);
    ///     }
    /// }
    /// inbox.close().await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The credentials name no party or TLS can't be set up with them.
    pub fn open(
        listener: TcpListener,
        credentials: &Credentials,
        seen: Seen,
    ) -> Result<(Self, mpsc::Receiver<Notice>), Error> {
        let certificate = credentials.identity();
        let Some(party) = certificate.identity().uuid() else {
            return Err(Error::NotAParty(certificate.spiffe_id().to_owned()));
        };
        let address = listener.local_addr().map_err(|error| Error::io("listen for callbacks", error))?;
        let policy = ClientPolicy::MarketOnly;
        let tls = server_config(credentials, policy).map_err(Error::Tls)?;
        let limits = AcceptorLimits {
            handshakes: MAX_HANDSHAKES,
            handshakes_of_address: MAX_HANDSHAKES_OF_ADDRESS,
            handshakes_per_second_of_address: HANDSHAKES_PER_SECOND_OF_ADDRESS,
            waiting: MAX_WAITING,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            connections: MAX_CONNECTIONS,
            connections_of_party: MAX_CONNECTIONS,
        };
        let acceptor = Acceptor::new(tls, credentials.trust_domain().clone(), policy, limits);
        let (notices, receiver) = mpsc::channel(QUEUE);
        let service = service::Notifications::new(party, notices.clone(), seen);
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(listener, acceptor.clone(), service, stopped));
        let inbox = Self { address, acceptor, notices, stop: Some(stop), server, announcements: None };
        Ok((inbox, receiver))
    }

    /// Tells the market that the server is listening, now and every [`ANNOUNCE_EVERY`], so that what waits is
    /// delivered at once instead of when the market's back-off ends. [`Notice::Opened`] reports each time that the
    /// market is reached after it was not, and [`Notice::Interrupted`] each failure.
    pub fn announce(&mut self, connection: Connection) {
        let task = tokio::spawn(announce::announce(connection, self.notices.clone()));
        if let Some(earlier) = self.announcements.replace(task) {
            earlier.abort();
        }
    }

    /// Returns the address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a handle with which to replace the credentials.
    pub fn handle(&self) -> InboxHandle {
        InboxHandle { acceptor: self.acceptor.clone() }
    }

    /// Rejects further calls, waits a few seconds for those in progress, and stops.
    pub async fn close(mut self) {
        if let Some(announcements) = self.announcements.take() {
            announcements.abort();
        }
        // This fails only if the server has already ended.
        let _ = self.stop.take().map(|stop| stop.send(()));
        if timeout(CLOSE_TIMEOUT, &mut self.server).await.is_err() {
            tracing::debug!("a callback was cut off at the end");
        }
    }
}

/// Replaces the credentials of an open [`Inbox`].
#[derive(Clone, Debug)]
pub struct InboxHandle {
    acceptor: Acceptor,
}

impl InboxHandle {
    /// Uses other credentials of the same party from now on, and closes the connections of a market whose
    /// certificate they no longer accept at the time `now`.
    ///
    /// # Errors
    /// TLS can't be set up with them; the current credentials are then unchanged.
    pub fn take_up(&self, credentials: &Credentials, now: OffsetDateTime) -> Result<(), Error> {
        // Swap before cut: a handshake that ends in between is then either cut or rejected as overtaken.
        self.acceptor.swap(server_config(credentials, ClientPolicy::MarketOnly).map_err(Error::Tls)?);
        self.acceptor.cut(|_, leaf| !credentials.accept(leaf, now));
        Ok(())
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.announcements.iter().for_each(JoinHandle::abort);
        self.server.abort();
    }
}

async fn serve(
    listener: TcpListener,
    acceptor: Acceptor,
    service: service::Notifications,
    stopped: oneshot::Receiver<()>,
) {
    let service = NotificationServiceServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd);
    let served = Server::builder()
        .max_concurrent_streams(MAX_CALLS)
        .http2_keepalive_interval(Some(KEEP_ALIVE.0))
        .http2_keepalive_timeout(Some(KEEP_ALIVE.1))
        .http2_max_header_list_size(HEADER_LIST_BYTES)
        .layer(ExplainLayer)
        .add_service(service)
        .serve_with_incoming_shutdown(acceptor::incoming(listener, acceptor), async {
            // A dropped sender means the same as a message.
            let _ = stopped.await;
        })
        .await;
    if let Err(error) = served {
        tracing::warn!(%error, "the callback server ended");
    }
}
