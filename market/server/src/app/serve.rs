//! Serving until shutdown, and the drain.

use std::{io, sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::App;
use crate::{
    access::Access,
    api::{self, Api, Parts},
    audit,
    ledger::{AnswerQueue, Lanes},
    observe::{self, manager, port::Health},
    transport::{Server, ServerOptions},
};

/// How often the lanes are checked for failure.
const LANE_WATCH: Duration = Duration::from_secs(1);

/// Why a market stopped serving.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A thread could not be started.
    #[error("can't start a server thread: {0}")]
    Io(#[from] io::Error),
    /// A ledger lane has failed. Acknowledged changes are safe; the market must be restarted.
    #[error("the ledger has failed; everything acknowledged is safe: start the market again")]
    LedgerFailed,
}

impl App {
    /// Serves until `shutdown` is cancelled. Then it rejects new calls, waits a bounded time for those in progress,
    /// completes queued commands, and closes everything.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ServeError> {
        self.run_with(shutdown, |access, api| async move { api::routes(&access, &api).await }).await
    }

    /// Like [`App::run`], with the services that `routes` returns. It is called once on each server thread.
    pub async fn run_with<F, R>(self, shutdown: CancellationToken, routes: F) -> Result<(), ServeError>
    where
        F: Fn(Arc<Access>, Api) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Routes, tonic_reflection::server::Error>>,
    {
        let (mut metrics, health) = (self.metrics(), self.health());
        let (parts, config) = (self.parts, self.config);
        report_head(&parts, "the audit log goes on from").await;
        let options = ServerOptions {
            acceptor: self.acceptor,
            threads: config.server.thread_count(),
            drain: config.server.drain(),
            handshakes_of_address: config.limits.handshakes_of_address,
            calls: config.limits.calls_under_way,
            calls_of_party: config.limits.calls_of_party,
            log_format: config.log.format,
            times: self.times,
            refusals: self.refusals.clone(),
            random: parts.random,
        };
        let server = {
            let (parts, access, ledgers) = (Arc::clone(&parts), self.access, self.lanes.ledgers());
            Server::start(&options, move || {
                let api = Api::new(Arc::clone(&parts), ledgers.open(&AnswerQueue::open()));
                routes(Arc::clone(&access), api)
            })?
        };
        let waiting = server.waiting();
        metrics.gauge(
            "souk_handshakes_waiting",
            "Connections that wait because their address has as many TLS handshakes under way as it may",
            move || i64::try_from(waiting()).unwrap_or(i64::MAX),
        );
        let health = Arc::new(health(server.pulses()));
        let watching = feed_watchdog(&health);
        if let Some(admin) = self.admin {
            tokio::spawn(observe::port::serve(admin, metrics, health, shutdown.clone()));
        }
        let served = CancellationToken::new();
        let noting =
            tokio::spawn(audit::keep(self.refusals, self.lanes.ledgers(), parts.clock, served.clone()));
        let rotating = tokio::spawn(self.rotator.run(shutdown.clone()));
        manager::opened(self.listener.local_addr().ok());
        let outcome = tokio::select! {
            () = server.deal(&self.listener) => Ok(()),
            () = shutdown.cancelled() => Ok(()),
            () = lane_failure(&self.lanes) => Err(ServeError::LedgerFailed),
        };
        // Closed first, so that clients get a refused connection at once and turn to another market.
        drop(self.listener);
        // The drain order follows from who depends on whom: the listener first, then calls and streams, then the
        // refusals that they may still cause, then the lanes that write those, and the search index last.
        // Certificates are no longer reloaded.
        rotating.abort();
        tracing::info!("shutting down");
        manager::closing();
        shutdown.cancel();
        parts.closing.cancel();
        // Concurrently, because the server waits for open streams and it is the relay that ends them.
        let closing = tokio::task::spawn_blocking(move || server.stop());
        let (closed, ()) = tokio::join!(closing, self.relay.shut_down(config.server.drain()));
        // No call can be rejected any more. Write the refusals of the drain while the lanes still run.
        served.cancel();
        let noted = noting.await;
        // `join` blocks, and the search and the health check still need the runtime.
        let ended = tokio::task::spawn_blocking(move || self.lanes.join()).await;
        for error in [closed.err(), noted.err(), ended.err()].into_iter().flatten() {
            tracing::error!(%error, "the market did not shut down cleanly");
        }
        report_head(&parts, "the audit log ends at").await;
        parts.search.clone().close().await;
        if let Some(watching) = watching {
            watching.abort();
        }
        outcome
    }
}

/// Starts sending watchdog notifications to the service manager. They continue until the very end of the drain; if
/// that hangs, the manager's stop timeout applies.
fn feed_watchdog(health: &Arc<Health>) -> Option<JoinHandle<()>> {
    let health = Arc::clone(health);
    manager::watchdog().map(|pause| tokio::spawn(manager::keep_alive(pause, move || (health.is_alive)())))
}

/// Writes the head of the audit log's hash chain to the market's own log, which is stored elsewhere. With it, `market
/// audit verify --head` detects a truncated audit log, which the chain alone can't.
async fn report_head(parts: &Parts, what: &str) {
    match parts.reads.audit_head().await {
        Ok(head) => tracing::info!(%head, "{what}"),
        Err(error) => tracing::error!(%error, "cannot read the head of the audit log"),
    }
}

async fn lane_failure(lanes: &Lanes) {
    let mut watch = time::interval(LANE_WATCH);
    // Polled, because a thread that panics notifies nobody. A lane that is gone would leave its share of the
    // commands unanswered.
    while !lanes.has_failed() {
        watch.tick().await;
    }
}
