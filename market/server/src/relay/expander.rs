//! Turns events for wishers into deliveries, and drops what is over its time: in small steps, so that a
//! purchase never waits long for its turn.

use std::{sync::Arc, time::Duration};

use tokio::time;

use super::{REQUEST_RETENTION, RETENTION, Shared, TRACK_RETENTION};

/// Deliveries of one step.
const STEP: usize = 256;
/// How often to look for events that nobody has told of: another market's, or after a restart.
const POLL: Duration = Duration::from_secs(1);
/// How often to look for what is over its time.
const CLEANING: Duration = Duration::from_secs(60);

pub(super) async fn expand(shared: Arc<Shared>) {
    loop {
        match shared.mailboxes.expand(STEP).await {
            Ok(expansion) => {
                shared.wake(&expansion.recipients);
                if expansion.more && !shared.stop.is_cancelled() {
                    continue;
                }
            }
            Err(error) => tracing::warn!(%error, "an event could not be turned into deliveries"),
        }
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = shared.expand.notified() => {}
            () = time::sleep(POLL) => {}
        }
    }
}

pub(super) async fn clean(shared: Arc<Shared>) {
    loop {
        let now = shared.clock.now();
        let dropped = shared.mailboxes.expire(now, RETENTION, STEP).await;
        let forgotten = shared.mailboxes.forget_requests(now.minus(REQUEST_RETENTION), STEP).await;
        let passed = shared.tracks.forget(now.minus(TRACK_RETENTION), STEP).await;
        let more = match (dropped, forgotten, passed) {
            (Ok(dropped), Ok(forgotten), Ok(passed)) => [dropped, forgotten, passed].contains(&STEP),
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => {
                tracing::warn!(%error, "what is over its time could not be dropped");
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
