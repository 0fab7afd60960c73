//! The drain: ends a market within a bounded time, whatever its store does.

use std::time::Duration;

use tokio::{
    task::JoinHandle,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use crate::{api::Parts, ledger::Lanes, relay::Relay, transport::Server};

/// How the time of a drain is divided.
#[derive(Clone, Copy)]
pub(super) struct DrainPhases {
    /// After this, the ledger refuses the commands that the store has not taken yet, so that their callers get an
    /// answer while they are still connected.
    commands: Duration,
    /// After this, the calls in progress are cut off.
    pub(super) calls: Duration,
    /// How long the ledger may take to end after either of them.
    ledger: Duration,
    /// After this, nothing is waited for any more. What is left is for closing the files of the store.
    closed: Duration,
}

impl DrainPhases {
    pub(super) fn of(whole: Duration) -> Self {
        let share = |share| whole.mul_f64(share);
        Self { commands: share(0.4), calls: share(0.7), ledger: share(0.1), closed: share(0.9) }
    }
}

/// What a drain ends. The order follows from who depends on whom: calls and streams first, then the refusals that
/// they may still cause, then the lanes that write those, and the search index and the clock last.
pub(super) struct Draining {
    pub(super) server: Server,
    pub(super) relay: Relay,
    pub(super) lanes: Lanes,
    /// Writes the refusals until `served` is cancelled.
    pub(super) noting: JoinHandle<()>,
    pub(super) served: CancellationToken,
}

impl Draining {
    pub(super) async fn run(self, phases: DrainPhases, parts: &Parts) {
        let Self { server, relay, lanes, noting, served } = self;
        let begin = Instant::now();
        let refusing = tokio::spawn(refuse_after(phases.commands, lanes.refusal()));
        // Concurrently, because the server waits for open streams and it is the relay that ends them.
        let closing = tokio::task::spawn_blocking(move || server.stop());
        let (closed, ()) = tokio::join!(closing, relay.shut_down(phases.calls));
        // No call can be rejected any more. Write the refusals of the drain while the lanes still run.
        served.cancel();
        let noted = noting.await;
        // The lanes get their full time also if all callers have gone away early.
        lanes.end(Instant::now().max(begin + phases.commands) + phases.ledger).await;
        refusing.abort();
        for error in [closed.err(), noted.err()].into_iter().flatten() {
            tracing::error!(%error, "the market did not shut down cleanly");
        }
        let closing = async {
            report_head(parts, "the audit log ends at").await;
            parts.watches.ended().await;
            parts.search.clone().close().await;
            if let Err(error) = parts.steady.report().await {
                tracing::warn!(%error, "cannot write the steady clock; it continues a few seconds earlier");
            }
        };
        if time::timeout_at(begin + phases.closed, closing).await.is_err() {
            tracing::error!("the store does not answer: ending without it");
        }
    }
}

async fn refuse_after(patience: Duration, refuse: CancellationToken) {
    time::sleep(patience).await;
    refuse.cancel();
}

/// Writes the head of the audit log's hash chain to the market's own log, which is stored elsewhere. With it, `market
/// audit verify --head` detects a truncated audit log, which the chain alone can't.
pub(super) async fn report_head(parts: &Parts, what: &str) {
    match parts.reads.audit_head().await {
        Ok(head) => tracing::info!(%head, "{what}"),
        Err(error) => tracing::error!(%error, "cannot read the head of the audit log"),
    }
}
