//! Serves until told to stop, then drains.

use std::{io, sync::Arc, time::Duration};

use tokio::time;
use tokio_util::sync::CancellationToken;

use super::App;
use crate::{
    api::{self, Api},
    ledger::{Desk, Lanes},
    server::{Server, ServerOptions},
};

/// How often to look whether a lane has died.
const LANE_WATCH: Duration = Duration::from_secs(1);

/// How a market ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A thread could not be started.
    #[error("can't start a server thread: {0}")]
    Io(#[from] io::Error),
    /// The write path died. What was acknowledged is safe; start the market again.
    #[error("the ledger has failed; everything acknowledged is safe: start the market again")]
    LedgerFailed,
}

impl App {
    /// Serves until `shutdown` is cancelled; then refuses new calls, waits a bounded time for those under
    /// way, carries out what was queued, and closes everything.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ServeError> {
        let Self { config, listener, acceptor, access, parts, lanes, relay } = self;
        let options = ServerOptions {
            acceptor,
            threads: config.server.thread_count(),
            drain: config.server.drain(),
            log_format: config.log.format,
        };
        let server = {
            let (parts, ledgers) = (Arc::clone(&parts), lanes.ledgers());
            Server::start(&options, move || {
                let api = Api::new(Arc::clone(&parts), ledgers.open(&Desk::open()));
                let access = Arc::clone(&access);
                async move { api::routes(&access, &api).await }
            })?
        };
        let outcome = tokio::select! {
            () = server.deal(&listener) => Ok(()),
            () = shutdown.cancelled() => Ok(()),
            () = lane_failure(&lanes) => Err(ServeError::LedgerFailed),
        };
        drop(listener);
        tracing::info!("shutting down");
        // The relay ends the streams, which would outlast every other call.
        let closing = tokio::task::spawn_blocking(move || {
            server.stop();
            lanes.join();
        });
        let (closed, ()) = tokio::join!(closing, relay.shut_down(config.server.drain()));
        if let Err(error) = closed {
            tracing::error!(%error, "the market did not end cleanly");
        }
        parts.search.clone().close().await;
        outcome
    }
}

async fn lane_failure(lanes: &Lanes) {
    let mut watch = time::interval(LANE_WATCH);
    while !lanes.has_failed() {
        watch.tick().await;
    }
}
