//! Work on the store in the background that no call waits for.

use std::{sync::Arc, time::Duration};

use souk_store::Upkeep;
use tokio::time;
use tokio_util::sync::CancellationToken;

/// The interval between looks for work. The audit log grows by a block within it at a few dozen changes per second.
const INTERVAL: Duration = Duration::from_secs(10);
/// The pause between two steps while there is work. Each step takes the writers' turn for about a millisecond, so
/// upkeep takes at most a few percent of a busy market's time.
const PAUSE: Duration = Duration::from_millis(20);

/// Keeps the store small until the market closes.
pub(crate) async fn run(upkeep: Arc<dyn Upkeep>, closing: CancellationToken) {
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
