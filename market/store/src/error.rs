//! How a store fails. Absence is never an error.

use std::error::Error as StdError;

/// A store could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The back end can't be reached, is full or is shutting down; nothing was changed.
    #[error("the store does not answer: {0}")]
    Unavailable(#[source] Box<dyn StdError + Send + Sync>),
    /// More is waiting for the store than it takes; nothing was changed.
    #[error("more is waiting for the store than it takes")]
    Overloaded,
    /// Other writers hold rows that are needed, for longer than they are waited for; nothing was changed.
    #[error("others hold what is needed: {0}")]
    Held(#[source] Box<dyn StdError + Send + Sync>),
    /// What is stored can't be read: damage, or a defect.
    #[error("the store can't be used as it is: {0}")]
    Corrupt(#[source] Box<dyn StdError + Send + Sync>),
}

impl StoreError {
    /// The back end does not answer, for this reason.
    pub fn unavailable(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }

    /// Something stored can't be read, for this reason.
    pub fn corrupt(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Corrupt(source.into())
    }
}

/// A batch could not be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// It was rolled back: nothing was written.
    #[error("the batch was not written: {0}")]
    Lost(#[source] StoreError),
    /// It was rolled back because it collided with what another writer did: nothing was written, and loading,
    /// deciding and saving again will probably go well.
    #[error("the batch collided with another writer's: {0}")]
    Conflict(#[source] StoreError),
    /// The commit was sent and not confirmed: it may have been written or not.
    #[error("the batch may have been written or not: {0}")]
    Indefinite(#[source] StoreError),
}
