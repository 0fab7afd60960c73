//! Fan-out of wishlist events into deliveries, in the background.
//!
//! It works in small transactions, so that a purchase never waits long for the store. An update of an item thus
//! commits a single event, however many buyers wish for it.

use std::{sync::Arc, time::Duration};

use tokio::time;

use super::Shared;

/// Maximum number of rows per step.
const STEP: usize = 256;
/// Polling interval for events without a notification: those of other markets, or from before a restart.
const POLL: Duration = Duration::from_secs(1);
pub(super) async fn expand(shared: Arc<Shared>) {
    loop {
        match shared.mailboxes.expand(STEP).await {
            Ok(expansion) => {
                // Whether they have callbacks is not known, and expansions are rare.
                shared.wake(&expansion.recipients, true);
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
