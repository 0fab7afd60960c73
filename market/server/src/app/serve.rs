//! Serving until shutdown, and the drain.

use std::{io, sync::Arc, time::Duration};

use prost::DecodeError;
use souk_store::HealthState;
use tokio::{
    task::JoinHandle,
    time::{self, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::{
    App,
    drain::{DrainPhases, Draining, report_head},
    metrics,
};
use crate::{
    access::{Access, CallRates},
    api::{self, Api, Readiness},
    audit,
    ledger::{AnswerQueue, Lanes},
    observe::{checks, manager, port::Health},
    transport::{Server, ServerOptions},
};

/// How often the lanes are checked for failure.
const LANE_WATCH: Duration = Duration::from_secs(1);

/// How often the readiness checks are read for the health service.
const READINESS: Duration = Duration::from_millis(500);

/// How long callers may take to receive their answers after the store has failed.
const FAILED_DRAIN: Duration = Duration::from_secs(1);

/// Why a market stopped serving.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A thread could not be started.
    #[error("can't start a server thread: {0}")]
    Io(#[from] io::Error),
    /// A ledger lane has failed. Acknowledged changes are safe; the market must be restarted.
    #[error("the ledger has failed; everything acknowledged is safe: start the market again")]
    LedgerFailed,
    /// The store has failed, and it is unknown what is on its disk. Nothing was acknowledged since. The
    /// process must end at once, without closing the store.
    #[error(
        "{0}: the market stops, because changes that it acknowledges now could be lost; everything acknowledged before is safe once the market has started again: check the disk and start it again"
    )]
    StoreFailed(String),
}

impl App {
    /// Serves until `shutdown` is cancelled. Then it rejects new calls, waits a bounded time for those in progress,
    /// completes queued commands, and closes everything.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ServeError> {
        self.run_with(shutdown, |access, api| api::routes(&access, &api)).await
    }

    /// Like [`App::run`], with the services that `routes` returns. It is called once on each server thread.
    pub async fn run_with<F>(self, shutdown: CancellationToken, routes: F) -> Result<(), ServeError>
    where
        F: Fn(Arc<Access>, Api) -> Result<Routes, DecodeError> + Send + Sync + 'static,
    {
        let (mut metrics, health) = (self.metrics(), self.health());
        let (parts, config) = (self.parts, self.config);
        let phases = DrainPhases::of(config.server.drain());
        report_head(&parts, "the audit log goes on from").await;
        let options = ServerOptions {
            acceptor: self.acceptor,
            threads: config.server.thread_count(),
            drain: phases.calls,
            calls: config.limits.calls_under_way,
            calls_of_party: config.limits.calls_of_party,
            rates: CallRates::new(&config.limits),
            log_format: config.log.format,
            times: self.times,
            talkers: parts.talkers.clone(),
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
        metrics::add_server(&server.load(), &config.limits, &mut metrics);
        let health = Arc::new(health(server.pulses()));
        let watching = feed_watchdog(&health);
        parts.readiness.set(checks::are_well(&(health.checks)()));
        let reporting = report_readiness(&health, &parts.readiness, &parts.closing);
        if let Some(admin) = &self.admin {
            admin.port.opened(metrics, health);
        }
        let served = CancellationToken::new();
        let noting =
            tokio::spawn(audit::keep(self.refusals, self.lanes.ledgers(), parts.clock, served.clone()));
        tokio::spawn(self.sweeper.run(self.lanes.ledgers(), parts.closing.clone()));
        let rotating = tokio::spawn(self.rotator.run(shutdown.clone()));
        let mut listener = self.listener;
        manager::opened(listener.local_addr().ok());
        let outcome = tokio::select! {
            () = server.deal(&mut listener) => Ok(()),
            () = shutdown.cancelled() => Ok(()),
            () = lane_failure(&self.lanes) => Err(ServeError::LedgerFailed),
            reason = store_failure(&self.store_health) => Err(ServeError::StoreFailed(reason)),
        };
        // Closed first, so that clients get a refused connection at once and turn to another market.
        drop(listener);
        if let Err(ServeError::StoreFailed(_)) = &outcome {
            shutdown.cancel();
            parts.closing.cancel();
            // Nothing can be written any more, so there is nothing to drain, only answers to send: the batch's
            // outcome is unknown, and the lane refuses the commands that are queued.
            let closing = tokio::task::spawn_blocking(move || server.stop());
            let _ = time::timeout(FAILED_DRAIN, closing).await;
            return outcome;
        }
        // Certificates are no longer reloaded.
        rotating.abort();
        tracing::info!("shutting down");
        manager::closing();
        shutdown.cancel();
        // Its port closes at the beginning of the drain.
        drop(self.admin);
        parts.closing.cancel();
        let draining = Draining { server, relay: self.relay, lanes: self.lanes, noting, served };
        draining.run(phases, &parts).await;
        // Its checks keep the store open, which the next market may open as soon as this one has ended.
        let _ = reporting.await;
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

/// Begins to report to the health service whether the market is ready, until it shuts down.
fn report_readiness(
    health: &Arc<Health>,
    readiness: &Readiness,
    closing: &CancellationToken,
) -> JoinHandle<()> {
    let (health, readiness, closing) = (Arc::clone(health), readiness.clone(), closing.clone());
    tokio::spawn(async move {
        let mut looks = time::interval(READINESS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while closing.run_until_cancelled(looks.tick()).await.is_some() {
            readiness.set(checks::are_well(&(health.checks)()));
        }
    })
}

/// Waits until the store can't go on, and returns the reason.
async fn store_failure(health: &souk_store::Health) -> String {
    let mut changes = health.changed();
    loop {
        if let HealthState::Failed { reason } = &*changes.borrow_and_update() {
            return reason.clone();
        }
        if changes.changed().await.is_err() {
            // Can't happen while `health` exists, which holds the sender.
            std::future::pending::<()>().await;
        }
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
