//! Search: a tantivy index that follows the store's item feed.
//!
//! The index is derived: it can be deleted at any time and is built again from the feed. It holds what is
//! searched by; what a hit shows comes from the store. A caller's search shows its own acknowledged writes
//! ([`Search::remember`]), everybody else's within a second of their commit.

mod collect;
mod criteria;
mod error;
mod find;
mod gate;
mod home;
mod indexer;
mod matching;
mod order;
mod own_writes;
mod place;
mod query;
mod schema;
#[cfg(test)]
mod tests;
mod words;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use souk_domain::{Category, Item, ItemId, PartyId};
use souk_store::{FeedPosition, Reads, StoreError};
use tokio::time::timeout;

pub use criteria::{PriceRange, SearchText};
pub use error::SearchError;
pub use home::IndexHome;
pub use order::SearchOrder;
pub use query::{CategoryQuery, SearchCursor, SearchPage, SearchQuery};

use find::{Hits, Reader};
use gate::Gate;
use indexer::{Live, Progress};
use own_writes::OwnWrites;

/// How long a search waits for the index to show what it must, before it fails as [`SearchError::Behind`].
pub const VISIBILITY_WAIT: Duration = Duration::from_secs(2);

/// How long a search that finds nothing waits for what is listed but not indexed yet, before it says so.
const NOTHING_WAIT: Duration = Duration::from_secs(1);

/// Who searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Searcher {
    /// The party.
    pub party: PartyId,
    /// Whether it may just have changed something at another market on the same store: then the search shows all that was
    /// changed by now, as far as the index comes to it within [`VISIBILITY_WAIT`].
    pub was_elsewhere: bool,
}

impl From<PartyId> for Searcher {
    fn from(party: PartyId) -> Self {
        Self { party, was_elsewhere: false }
    }
}

/// Finds items. A handle: clones share one index.
#[derive(Clone)]
pub struct Search {
    shared: Arc<Shared>,
}

struct Shared {
    reads: Arc<dyn Reads>,
    live: Arc<Live>,
    own_writes: OwnWrites,
    gate: Gate,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How far the index is behind, and how busy searching is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchLoad {
    /// Up to here in the feed, searches see everything.
    pub indexed: FeedPosition,
    /// Where the feed is, as far as the index was told. The difference is the lag, in changes.
    pub moved: FeedPosition,
    /// Whether the index was level with the store since it was opened; until then searches wait.
    pub level: bool,
    /// Searches under way, waiting ones included.
    pub searches: usize,
}

impl Search {
    /// Opens the index and starts the thread that follows the store's item feed. The index is built from
    /// the start of the feed when it is missing, damaged, of another version or ahead of the store. Until
    /// it is level with the store, searches wait for up to [`VISIBILITY_WAIT`].
    ///
    /// # Errors
    /// When the directory can't be used or another process uses it, and when the store can't be read.
    pub async fn open(home: IndexHome, reads: Arc<dyn Reads>) -> Result<Self, SearchError> {
        let (live, thread) = indexer::start(home, Arc::clone(&reads)).await?;
        let shared = Shared {
            reads,
            live,
            own_writes: OwnWrites::default(),
            gate: Gate::default(),
            thread: Mutex::new(Some(thread)),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A commit moved the feed to this position: wakes the indexer. Never blocks.
    pub fn feed_moved(&self, position: FeedPosition) {
        Live::raise(&self.shared.live.moved, position);
    }

    /// The store's feed ends before where it is known to have been: the index is opened again, and built anew if it
    /// holds what the store does not. Until then, searches wait.
    pub fn was_set_back(&self) {
        // Until then, nothing is shown that may be gone, nor what was changed since left out.
        self.shared.live.progress.send_modify(|progress| progress.level = false);
        self.shared.own_writes.forget();
        self.shared.live.set_back.notify_one();
    }

    /// A caller was told of its own write, which moved the feed to this position: its searches will wait
    /// until they show it.
    pub fn remember(&self, caller: PartyId, position: FeedPosition) {
        self.feed_moved(position);
        self.shared.own_writes.remember(caller, position, self.progress().indexed);
    }

    /// Finds a page of items.
    ///
    /// # Errors
    /// [`SearchError::Overloaded`] within 50 ms when too many searches are under way, and
    /// [`SearchError::Behind`] when the index does not show the caller's own writes within
    /// [`VISIBILITY_WAIT`].
    pub async fn search(
        &self,
        caller: impl Into<Searcher>,
        query: &SearchQuery,
    ) -> Result<SearchPage, SearchError> {
        let caller = caller.into();
        let listed_by_now = self.load().moved;
        let mut hits = self.find(caller, query).await?;
        // "Nothing" is the one answer that a caller does not ask for again: it must hold for now.
        if hits.total == 0 && self.progress().indexed < listed_by_now {
            self.wait_until_indexed(listed_by_now, NOTHING_WAIT).await;
            hits = self.find(caller.party.into(), query).await?;
        }
        let ids: Vec<_> = hits.places.iter().map(|place| ItemId(place.item)).collect();
        let next = hits.places.last().filter(|_| hits.more).map(|last| SearchCursor(*last));
        let items = self.complete(&ids).await?;
        Ok(SearchPage { items, next, total: hits.total, categories: hits.categories })
    }

    /// Counts the items in each category that has any, by path. The counts are for just the category, without
    /// those below it.
    ///
    /// # Errors
    /// As [`Search::search`].
    pub async fn categories(
        &self,
        caller: impl Into<Searcher>,
        query: CategoryQuery,
    ) -> Result<Vec<(Category, u64)>, SearchError> {
        self.ask_index(caller.into(), move |reader| reader.categories(&query)).await
    }

    /// Waits until searches see something that lies after a position in the feed.
    pub async fn wait_past(&self, position: FeedPosition) {
        let mut progress = self.shared.live.progress.subscribe();
        // The sender goes with the index, and then there is nothing to wait for.
        let _ = progress.wait_for(|progress| progress.indexed > position).await;
    }

    /// How far behind the index is, and how busy.
    pub fn load(&self) -> SearchLoad {
        let Progress { indexed, level } = self.progress();
        let moved = *self.shared.live.moved.borrow();
        SearchLoad { indexed, moved: moved.max(indexed), level, searches: self.shared.gate.taken() }
    }

    /// Ends the indexer and waits for it. Other handles can still search, in the index as it is then.
    pub async fn close(self) {
        self.shared.live.closing.cancel();
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else {
            return;
        };
        match tokio::task::spawn_blocking(move || thread.join()).await {
            Ok(Ok(())) => {}
            _ => tracing::error!("the search indexer ended in a panic"),
        }
    }

    async fn find(&self, caller: Searcher, query: &SearchQuery) -> Result<Hits, SearchError> {
        let asked = query.clone();
        self.ask_index(caller, move |reader| reader.find(&asked)).await
    }

    /// Runs a question on a thread that may block, when the index shows what this caller must see.
    async fn ask_index<T: Send + 'static>(
        &self,
        caller: Searcher,
        question: impl FnOnce(&Reader) -> tantivy::Result<T> + Send + 'static,
    ) -> Result<T, SearchError> {
        let entered = self.shared.gate.enter()?;
        self.wait_until_visible(caller).await?;
        let seat = self.shared.gate.seat().await?;
        let reader = self.shared.live.reader.load_full();
        let answer = tokio::task::spawn_blocking(move || {
            let answer = question(&reader);
            // Held to the end of the work, also when the caller has gone.
            drop((seat, entered));
            answer
        });
        Ok(answer.await.map_err(|error| SearchError::Thread(error.to_string()))??)
    }

    async fn wait_until_visible(&self, caller: Searcher) -> Result<(), SearchError> {
        if caller.was_elsewhere {
            // What it changed lies somewhere before the end. The rest is others', for whom a search does not fail.
            let end = self.shared.reads.feed_end().await?;
            self.feed_moved(end);
            let came = self.wait_until_indexed(end, VISIBILITY_WAIT).await;
            if !came && !self.progress().level {
                return Err(SearchError::Behind);
            }
        }
        let due = self.shared.own_writes.due(caller.party, self.progress().indexed);
        let is_visible = self.wait_until_indexed(due, VISIBILITY_WAIT).await;
        if is_visible { Ok(()) } else { Err(SearchError::Behind) }
    }

    /// Whether searches see everything up to a position, if need be after a wait.
    async fn wait_until_indexed(&self, position: FeedPosition, patience: Duration) -> bool {
        let is_there = |progress: &Progress| progress.level && progress.indexed >= position;
        if is_there(&self.progress()) {
            return true;
        }
        Live::raise(&self.shared.live.wanted, position);
        let mut progress = self.shared.live.progress.subscribe();
        matches!(timeout(patience, progress.wait_for(is_there)).await, Ok(Ok(_)))
    }

    /// Those of the items that are still listed, as they are now, in the order given.
    async fn complete(&self, ids: &[ItemId]) -> Result<Vec<Item>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let items = self.shared.reads.items(ids).await?;
        let mut listed: HashMap<_, _> =
            items.into_iter().filter(Item::is_listed).map(|item| (item.id, item)).collect();
        Ok(ids.iter().filter_map(|id| listed.remove(id)).collect())
    }

    fn progress(&self) -> Progress {
        *self.shared.live.progress.borrow()
    }
}

impl Drop for Shared {
    /// Without handles there is nobody to index for.
    fn drop(&mut self) {
        self.live.closing.cancel();
    }
}
