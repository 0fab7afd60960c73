//! How a search fails.

use std::{io, path::PathBuf, time::Duration};

use souk_store::StoreError;
use tantivy::TantivyError;

use super::VISIBILITY_WAIT;

/// A search, or opening the index, did not succeed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// More searches are under way than the market takes.
    #[error("more searches are under way than the market takes; try again in a moment")]
    Overloaded,
    /// The index does not show yet what it must: it is being built, or the caller's own changes are not in.
    #[error("the search index is still catching up after {:?}; try again in a moment", Self::PATIENCE)]
    Behind,
    /// The store lacks what it had, as after a backup or a standby that was behind took its place.
    #[error("the store is behind the search index, as if it had been set back")]
    SetBack,
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process writes to the index.
    #[error("another market uses the search index in {}; give each market its own directory", .0.display())]
    InUse(PathBuf),
    /// The index directory can't be used.
    #[error("can't use {} for the search index: {error}; check that the market may write there", .directory.display())]
    Home {
        /// The directory.
        directory: PathBuf,
        /// What went wrong there.
        error: io::Error,
    },
    /// The index library failed.
    #[error("the search index failed: {0}")]
    Index(TantivyError),
    /// A thread could not be started, or ended unexpectedly.
    #[error("the search thread failed: {0}")]
    Thread(String),
}

impl SearchError {
    const PATIENCE: Duration = VISIBILITY_WAIT;
}

impl From<TantivyError> for SearchError {
    fn from(error: TantivyError) -> Self {
        Self::Index(error)
    }
}
