//! Work on the store in the background that no call waits for.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use souk_domain::Timestamp;
use souk_store::{Backlogs, Upkeep};
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::clock::SteadyClock;

/// The interval between looks for work. The audit log grows by a block within it at a few dozen changes per second.
const INTERVAL: Duration = Duration::from_secs(10);
/// The pause between two steps while there is work. Each step takes the writers' turn for about a millisecond, so
/// upkeep takes at most a few percent of a busy market's time.
const PAUSE: Duration = Duration::from_millis(20);
/// The interval between looks at the backlogs.
const LOOK: Duration = Duration::from_secs(5);

/// Starts the work, until the market closes. Returns what it finds waiting.
pub(crate) fn start(upkeep: Arc<dyn Upkeep>, clock: SteadyClock, closing: CancellationToken) -> BacklogLook {
    let look = BacklogLook::default();
    tokio::spawn(look.clone().run(Arc::clone(&upkeep), clock, closing.clone()));
    tokio::spawn(run(upkeep, closing));
    look
}

/// Keeps the store small.
async fn run(upkeep: Arc<dyn Upkeep>, closing: CancellationToken) {
    loop {
        let pause = match upkeep.compact_audit().await {
            Ok(0) => INTERVAL,
            Ok(_) => PAUSE,
            Err(error) => {
                tracing::warn!(%error, "cannot compact the audit log; trying again");
                INTERVAL
            }
        };
        tokio::select! {
            () = closing.cancelled() => return,
            () = time::sleep(pause) => {}
        }
    }
}

/// What waited in the store a few seconds ago, for metrics: a scrape never waits for the store. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct BacklogLook(Arc<ArcSwap<Found>>);

#[derive(Default)]
struct Found {
    at: Timestamp,
    backlogs: Backlogs,
}

impl BacklogLook {
    async fn run(self, upkeep: Arc<dyn Upkeep>, clock: SteadyClock, closing: CancellationToken) {
        loop {
            let at = clock.now();
            match upkeep.backlogs(at).await {
                Ok(backlogs) => self.0.store(Arc::new(Found { at, backlogs })),
                // Only for metrics, and whatever is wrong with the store is reported by those who need it.
                Err(error) => tracing::debug!(%error, "cannot look at the backlogs"),
            }
            tokio::select! {
                () = closing.cancelled() => return,
                () = time::sleep(LOOK) => {}
            }
        }
    }

    /// Returns a figure of the last look.
    pub(crate) fn number(&self, read: fn(&Backlogs) -> i64) -> i64 {
        read(&self.0.load().backlogs)
    }

    /// Returns an age in seconds at the time of the last look; 0 if nothing waited.
    pub(crate) fn age(&self, since: fn(&Backlogs) -> Option<Timestamp>) -> i64 {
        let found = self.0.load();
        let micros = since(&found.backlogs).map_or(0, |since| found.at.0.saturating_sub(since.0));
        micros.max(0) / 1_000_000
    }
}
