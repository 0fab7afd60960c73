//! The load of the index, for metrics.

use souk_store::FeedPosition;

/// The lag of the index and the load of searches, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchLoad {
    /// The feed position up to which searches see everything.
    pub indexed: FeedPosition,
    /// The end of the feed, as far as it was reported. The index lags if this is higher than `indexed`.
    pub moved: FeedPosition,
    /// Whether the index has caught up with the store since the market was opened. Until then searches wait.
    pub level: bool,
    /// The number of searches in progress, including those that wait.
    pub searches: usize,
    /// The number of searches that occupy a thread.
    pub running: usize,
    /// The number of threads that search.
    pub threads: usize,
}
