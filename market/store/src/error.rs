//! The errors of a store. A row that does not exist is `None`, never an error.

use std::error::Error as StdError;

/// A store operation failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The back end can't be reached or is shutting down; nothing was changed.
    #[error("the store is unavailable: {0}")]
    Unavailable(#[source] Box<dyn StdError + Send + Sync>),
    /// The queue to the store is full; nothing was changed.
    #[error("the queue to the store is full")]
    Overloaded,
    /// The store acknowledges nothing any more, for a reason that its [`Health`](crate::Health) reports and
    /// that has been logged.
    #[error("the store has stopped: {0}")]
    Stopped(String),
    /// Other writers hold locks on the rows for longer than the lock timeout; nothing was changed.
    #[error("rows are locked by other writers: {0}")]
    Held(#[source] Box<dyn StdError + Send + Sync>),
    /// The disk is full; nothing was changed. The back end has reported it in its [`Health`](crate::Health) and in
    /// the log, so callers need not log it again.
    #[error("the disk is full: {0}")]
    Full(#[source] Box<dyn StdError + Send + Sync>),
    /// A constraint of the database rejected a row; nothing was changed. The commands of the batch contradict
    /// each other or the stored rows, which only a defect or another market can cause.
    #[error("a constraint rejected a row: {0}")]
    Rejected(#[source] Box<dyn StdError + Send + Sync>),
    /// A stored value can't be read, because of damage or a defect.
    #[error("the store can't be used: {0}")]
    Corrupt(#[source] Box<dyn StdError + Send + Sync>),
    /// The store is not one that this market can use: it is another program's, or has the schema of another version.
    #[error("the store can't be used: {0}")]
    Unsuitable(#[source] Box<dyn StdError + Send + Sync>),
}

impl StoreError {
    /// Creates [`StoreError::Unavailable`] from its cause.
    pub fn unavailable(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }

    /// Creates [`StoreError::Unsuitable`] from its cause.
    pub fn unsuitable(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Unsuitable(source.into())
    }

    /// Creates [`StoreError::Corrupt`] from its cause.
    pub fn corrupt(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Corrupt(source.into())
    }
}

/// A batch was not saved, or it is unknown whether it was.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The batch was rolled back: nothing was written.
    #[error("the batch was not written: {0}")]
    Lost(#[source] StoreError),
    /// The batch was rolled back because it conflicts with another writer's: nothing was written. Reload,
    /// decide and save again.
    #[error("the batch conflicts with another writer's: {0}")]
    Conflict(#[source] StoreError),
    /// The commit was sent and not confirmed: the batch may or may not have been written. The caller must
    /// not guess; a retry with the same request id finds out.
    #[error("the batch may have been written or not: {0}")]
    Indefinite(#[source] StoreError),
}
