//! Work on the store that no call waits for.

use async_trait::async_trait;
use souk_domain::Timestamp;

use super::{Backlogs, StoreError};

/// Upkeep, in steps that leave room for purchases in between.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Stores the oldest entries of the audit log in less space, and returns how many. 0 means that there is nothing
    /// to do at the moment. The log's entries and hashes stay the same.
    async fn compact_audit(&self) -> Result<usize, StoreError> {
        Ok(0)
    }

    /// Returns what waits in the store, at a steady time. Holds up no writer, and takes a bounded time however much
    /// waits.
    async fn backlogs(&self, now: Timestamp) -> Result<Backlogs, StoreError>;
}
