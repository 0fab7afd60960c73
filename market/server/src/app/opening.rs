//! What the market answers while its store is being opened, which takes minutes if a large table is migrated.
//!
//! The admin port is open from the start: `/livez` says that all is well, so that nobody restarts the market, and
//! `/readyz` says how far it is. The RPC port accepts connections and refuses every call with UNAVAILABLE and the same
//! state: a client that was left waiting would not know why.

use std::{
    future::{Future, ready},
    io,
    net::SocketAddr,
    pin::pin,
    time::Duration,
};

use futures::{Stream, StreamExt as _, stream};
use souk_certs::{
    acceptor::{Acceptor, Listener, TlsConnection},
    listener,
};
use souk_proto::Reason;
use souk_store::OpeningProgress;
use tokio::time;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::Routes;

use crate::{
    observe::{
        checks::Check,
        manager,
        port::{self, AdminPort},
    },
    transport::{CONCURRENT_STREAMS, PENDING_RESETS},
    wire,
};

/// How long clients wait in the listener's queue before they are refused. Usually the market is open by then.
const GRACE: Duration = Duration::from_millis(250);
/// The maximum number of concurrent handshakes while the market is not open.
const HANDSHAKES: usize = 64;
/// How long connections may take to close when the market opens. Their clients connect again.
const HANG_UP: Duration = Duration::from_secs(1);
/// How often the market reports to the service manager that it is still starting.
const REPORT: Duration = Duration::from_secs(5);
/// The delay after which a refused client should try again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The open admin port. It closes when this is dropped.
pub(super) struct OpenPort {
    pub(super) address: SocketAddr,
    pub(super) port: AdminPort,
    _stop: DropGuard,
}

impl OpenPort {
    /// Opens the port and serves it in the background, with what is known while the market is being opened.
    pub(super) async fn open(address: SocketAddr, progress: &OpeningProgress) -> io::Result<Self> {
        let listener = listener::bind(address).await?;
        let address = listener.local_addr()?;
        let (stop, told) = (CancellationToken::new(), progress.clone());
        let port = AdminPort::opening(move || vec![Check::that("store", false, &state(&told))]);
        tokio::spawn(port::serve(listener, port.clone(), stop.clone()));
        Ok(Self { address, port, _stop: stop.drop_guard() })
    }
}

/// Waits until the market is open, and refuses calls meanwhile.
pub(super) async fn refusing_calls<T>(
    listener: &mut Listener,
    acceptor: &Acceptor,
    progress: &OpeningProgress,
    opening: impl Future<Output = T>,
) -> T {
    let mut opening = pin!(opening);
    if let Ok(opened) = time::timeout(GRACE, &mut opening).await {
        return opened;
    }
    let stop = CancellationToken::new();
    let mut refusing = pin!(refuse(listener, acceptor, progress, stop.clone()));
    let (mut reports, mut has_ended) = (time::interval(REPORT), false);
    let opened = loop {
        tokio::select! {
            opened = &mut opening => break opened,
            // Not polled again after it has ended, which it does only on an error.
            () = &mut refusing, if !has_ended => has_ended = true,
            _ = reports.tick() => manager::opening(&state(progress), 4 * REPORT),
        }
    };
    // Without this, connected clients would go on being refused by the connections that they have.
    stop.cancel();
    if !has_ended && time::timeout(HANG_UP, refusing).await.is_err() {
        tracing::debug!("some clients were still connected when the market opened");
    }
    opened
}

fn state(progress: &OpeningProgress) -> String {
    progress.migrating().map_or_else(|| "opening".to_owned(), |state| state.to_string())
}

async fn refuse(
    listener: &mut Listener,
    acceptor: &Acceptor,
    progress: &OpeningProgress,
    stop: CancellationToken,
) {
    let progress = progress.clone();
    let refusal = move || {
        let told = format!("the market is not open yet ({}); try again in a moment", state(&progress));
        let status = wire::try_again(Reason::Unavailable, told, RETRY_DELAY);
        ready(status.into_http::<axum::body::Body>())
    };
    let routes = Routes::from(axum::Router::new().fallback(refusal));
    let served = tonic::transport::Server::builder()
        .max_concurrent_streams(CONCURRENT_STREAMS)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS))
        .serve_with_incoming_shutdown(routes, connections(listener, acceptor), stop.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::warn!(%error, "cannot refuse calls while the market is being opened");
    }
}

/// Accepts connections. A failed handshake ends only its connection.
fn connections(
    listener: &mut Listener,
    acceptor: &Acceptor,
) -> impl Stream<Item = io::Result<TlsConnection>> {
    stream::unfold(listener, |listener| async { Some((listener.next().await, listener)) })
        .map(move |arrival| acceptor.accept_arrival(arrival))
        .buffer_unordered(HANDSHAKES)
        .filter_map(|accepted| ready(accepted.ok().map(Ok)))
}
