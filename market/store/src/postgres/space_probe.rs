//! Finds out whether a full disk of the server has space again.

use std::{sync::Weak, time::Duration};

use tokio::time::sleep;
use uuid::Uuid;

use super::{connection::params, pool::Pool, statements as sql};
use crate::space::Space;

/// How often to look.
const PERIOD: Duration = Duration::from_secs(5);

/// Writes a row periodically while there is no space, until the store is closed. A market that is not ready gets
/// no calls, so nothing else may ever find out that there is space again.
pub(super) async fn run(pool: Weak<Pool>, space: Space, market: Uuid) {
    loop {
        sleep(PERIOD).await;
        let Some(pool) = pool.upgrade() else { return };
        if !space.is_used_up() {
            continue;
        }
        match pool.query(sql::COUNT_REPLAYS, || params![market, 0_i64]).await {
            Ok(_) => space.is_back(),
            Err(failure) => tracing::debug!(%failure, "the disk of the database is still full"),
        }
    }
}
