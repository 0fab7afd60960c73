//! Work on the store that no call waits for.

use async_trait::async_trait;

use super::StoreError;

/// Upkeep, in steps that leave room for purchases in between.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Stores the oldest entries of the audit log in less space, and returns how many. 0 means that there is nothing
    /// to do at the moment. The log's entries and hashes stay the same.
    async fn compact_audit(&self) -> Result<usize, StoreError> {
        Ok(0)
    }
}
