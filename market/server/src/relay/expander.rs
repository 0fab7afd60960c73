//! Background tasks: fan-out of wishlist events into deliveries, and deletion of expired data.
//!
//! Both work in small transactions, so that a purchase never waits long for the store. An update of an item thus
//! commits a single event, however many buyers wish for it.

use std::{sync::Arc, time::Duration};

use tokio::time;

use super::{CONSUMER_RETENTION, REQUEST_RETENTION, RETENTION, Shared, TRACK_RETENTION};

/// Maximum number of rows per step.
const STEP: usize = 256;
/// Polling interval for events without a notification: those of other markets, or from before a restart.
const POLL: Duration = Duration::from_secs(1);
/// Interval between deletions of expired data.
const CLEANING: Duration = Duration::from_secs(60);

pub(super) async fn expand(shared: Arc<Shared>) {
    loop {
        match shared.mailboxes.expand(STEP).await {
            Ok(expansion) => {
                shared.wake(&expansion.recipients);
                // Without a pause, but in a new transaction, so that purchases come in between.
                if expansion.more && !shared.stop.is_cancelled() {
                    continue;
                }
            }
            Err(error) => tracing::warn!(%error, "cannot expand an event into deliveries; trying again"),
        }
        tokio::select! {
            () = shared.stop.cancelled() => return,
            // `Notify` stores one permit, so a notification during the expansion above is not lost.
            () = shared.expand.notified() => {}
            () = time::sleep(POLL) => {}
        }
    }
}

pub(super) async fn clean(shared: Arc<Shared>) {
    loop {
        let now = shared.clock.now();
        let dropped = shared.mailboxes.expire(now, RETENTION, STEP).await;
        // All of them run even if one fails: a defect in one table must not let the others grow.
        let forgotten = shared.mailboxes.forget_requests(now.minus(REQUEST_RETENTION), STEP).await;
        let unseen = shared.consumers.drop_consumers(now.minus(CONSUMER_RETENTION), STEP).await;
        let passed = shared.tracks.forget(now.minus(TRACK_RETENTION), STEP).await;
        let more = match (dropped, forgotten, unseen, passed) {
            // A full step means that there may be more. The log is one line per round even if the store is
            // down.
            (Ok(dropped), Ok(forgotten), Ok(unseen), Ok(passed)) => {
                [dropped, forgotten, unseen, passed].contains(&STEP)
            }
            (Err(error), ..) | (_, Err(error), ..) | (_, _, Err(error), _) | (.., Err(error)) => {
                tracing::warn!(%error, "cannot delete expired data; trying again");
                false
            }
        };
        let pause = if more { Duration::ZERO } else { CLEANING };
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = time::sleep(pause) => {}
        }
    }
}
