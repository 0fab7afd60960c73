//! The size of a store's write-ahead log, for metrics.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The write-ahead log of a store in a file, as the last look at it found it. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct WriteAheadLog {
    figures: Arc<Figures>,
}

#[derive(Debug, Default)]
struct Figures {
    bytes: AtomicU64,
    pending_pages: AtomicU64,
    checkpoints: AtomicU64,
}

impl WriteAheadLog {
    /// Returns the size of the log's file in bytes. Part of it may be free for new entries.
    pub fn bytes(&self) -> u64 {
        self.figures.bytes.load(Ordering::Relaxed)
    }

    /// Returns the number of pages that have not been copied into the database file.
    pub fn pending_pages(&self) -> u64 {
        self.figures.pending_pages.load(Ordering::Relaxed)
    }

    /// Returns the number of checkpoints since the store was opened.
    pub fn checkpoints(&self) -> u64 {
        self.figures.checkpoints.load(Ordering::Relaxed)
    }

    pub(crate) fn note(&self, bytes: u64, pending_pages: u64) {
        self.figures.bytes.store(bytes, Ordering::Relaxed);
        self.figures.pending_pages.store(pending_pages, Ordering::Relaxed);
        self.figures.checkpoints.fetch_add(1, Ordering::Relaxed);
    }
}
