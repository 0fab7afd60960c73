//! The errors of searching and of opening the index.

use std::{io, path::PathBuf, time::Duration};

use souk_store::StoreError;
use tantivy::TantivyError;

use super::{VISIBILITY_WAIT, effort::Stop};

/// A search failed, or the index could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The limit of concurrent searches is reached.
    #[error("more searches are under way than the market takes; try again in a moment")]
    Overloaded,
    /// The index is still being built, or does not include the caller's own changes yet.
    #[error("the search index is still catching up after {:?}; try again in a moment", Self::PATIENCE)]
    Behind,
    /// The store has lost changes: it was restored from a backup, or a standby that lagged has taken over.
    #[error("the store is behind the search index, as if it had been set back")]
    SetBack,
    /// Reading the store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process has the index open for writing.
    #[error("another market uses the search index in {}; give each market its own directory", .0.display())]
    InUse(PathBuf),
    /// The index directory can't be used.
    #[error("can't use {} for the search index: {error}; check that the market may write there", .directory.display())]
    Home {
        /// The directory of the index.
        directory: PathBuf,
        /// The cause, from the file system.
        error: io::Error,
    },
    /// The index library returned an error.
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

impl From<Stop> for SearchError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Index(error) => Self::Index(error),
            // Neither gets here: an expensive search continues on another thread, and one given up has no caller.
            Stop::TooExpensive | Stop::GivenUp => Self::Overloaded,
        }
    }
}
