//! Search: a tantivy index that follows the store's item feed.
//!
//! The index is derived data: it can be deleted at any time and is rebuilt from the feed. It contains only
//! what is needed to search; hits are completed from the store. A search includes the caller's own
//! acknowledged writes ([`Search::remember`]), and those of others within a second of their commit.
//!
//! A query is split into words (`words`, `ask`), which are looked up in each segment (`resolve`, `cursor`). Matches are
//! found in order, by tiers (`tiers`) or by price, rating or age (`orders`), and counted apart from that (`counts`).
//! `execute` puts this together, and decides how far a search goes beyond the words as typed.

mod ask;
mod bits;
mod columns;
mod committed;
mod counts;
mod criteria;
mod cursor;
mod directory;
mod effort;
mod error;
mod examine;
mod execute;
mod feed_pages;
mod find;
mod gate;
mod hidden;
mod hit_cache;
mod hits;
mod home;
mod indexer;
mod late;
mod leniency;
mod load;
mod matches;
mod merging;
mod numbers;
mod order;
mod orders;
mod own_writes;
mod place;
mod pool;
mod query;
mod rank;
mod resolve;
mod said;
mod schema;
mod searcher;
mod segment;
mod spelling;
mod standing;
mod states;
mod suggest;
#[cfg(test)]
mod tests;
mod tiers;
mod turns;
mod words;
mod writer;

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use souk_domain::{Category, Item, PartyId, WorkingSet};
use souk_store::{FeedPosition, Reads, StoreError};
use tokio::time::timeout;

pub use criteria::{PriceRange, SearchText};
pub use error::SearchError;
pub use examine::{Agreement, examine};
pub use hits::{HitCounts, StoreWriters};
pub use home::IndexHome;
pub use leniency::Leniency;
pub use load::{STALE_AFTER, SearchLoad};
pub use order::SearchOrder;
pub use query::{CategoryQuery, SearchCursor, SearchPage, SearchQuery};
pub use searcher::Searcher;
pub use standing::{Conditions, ItemTerms, StandingQueries};
pub use words::{Languages, SynonymError, Synonyms, UnknownLanguage, Wording};

use effort::{Effort, Patience, Stop};
use find::{Hits, Reader};
use gate::Gate;
use hits::Hits as HitSource;
use indexer::{Live, Progress, Setup};
use late::MAX_LATE;
use own_writes::OwnWrites;
use pool::Pool;

/// How long a search waits for the index to catch up, before it fails with [`SearchError::Behind`].
pub const VISIBILITY_WAIT: Duration = Duration::from_secs(2);

/// How long a search without hits waits for changes that are not indexed yet, before it reports that.
const NOTHING_WAIT: Duration = Duration::from_secs(1);

/// How long the index may lag behind before imports wait for it. Longer than it lags behind a single import, and shorter
/// than the second within which a search must show the changes of others.
pub const IMPORT_LAG: Duration = Duration::from_millis(400);

/// A search that reads at most this many postings runs on its caller's thread.
const CHEAP: u64 = 20_000;

/// A handle to the search index. Clones share one index.
#[derive(Clone)]
pub struct Search {
    shared: Arc<Shared>,
}

struct Shared {
    reads: Arc<dyn Reads>,
    live: Arc<Live>,
    own_writes: OwnWrites,
    gate: Gate,
    pool: Pool,
    hits: HitSource,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Search {
    /// Opens the index and starts the thread that follows the store's item feed.
    ///
    /// The index is rebuilt from the start of the feed if it is missing, damaged, of another version, for other
    /// languages, or ahead of the store. Until it has caught up, searches wait for up to [`VISIBILITY_WAIT`].
    ///
    /// # Errors
    ///
    /// Fails if the directory can't be used or another process uses it, or if the store can't be read.
    pub async fn open(
        home: IndexHome,
        wording: Wording,
        reads: Arc<dyn Reads>,
        writers: StoreWriters,
    ) -> Result<Self, SearchError> {
        Self::open_with(Setup { home, wording, max_late: MAX_LATE }, reads, writers).await
    }

    async fn open_with(
        setup: Setup,
        reads: Arc<dyn Reads>,
        writers: StoreWriters,
    ) -> Result<Self, SearchError> {
        let (live, thread) = indexer::start(setup, Arc::clone(&reads)).await?;
        let hits = HitSource::new(Arc::clone(&reads), writers);
        let shared = Shared {
            reads,
            live,
            own_writes: OwnWrites::default(),
            gate: Gate::default(),
            pool: Pool::start().map_err(|error| SearchError::Thread(error.to_string()))?,
            hits,
            thread: Mutex::new(Some(thread)),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Reports that a commit has moved the feed to a position, and wakes the indexer. Never blocks.
    pub fn feed_moved(&self, position: FeedPosition) {
        Live::raise(&self.shared.live.moved, position);
    }

    /// Reports what a commit of this market has changed. Must be called in the order of commits, and before they are
    /// answered, or a search could show the state before one. Never blocks.
    pub fn committed(&self, rows: WorkingSet) {
        self.shared.hits.committed(rows);
    }

    /// Reports that it is unknown what a commit of this market has changed.
    pub fn forget_hits(&self) {
        self.shared.hits.forget();
    }

    /// Reports that the store's feed ends before a position that it is known to have reached. The index is
    /// reopened, and rebuilt if it contains what the store does not. Until then, searches wait.
    pub fn was_set_back(&self) {
        // First of all: from now on no search may show items that are gone, or miss those that were changed
        // since.
        self.shared.live.progress.send_modify(|progress| progress.level = false);
        self.shared.own_writes.forget();
        self.shared.live.set_back.notify_one();
    }

    /// Reports that a caller's own write has moved the feed to a position. Its searches wait until they
    /// include it.
    ///
    /// Must be called before the write is acknowledged, or the caller's next search could arrive first.
    pub fn remember(&self, caller: PartyId, position: FeedPosition) {
        self.feed_moved(position);
        self.shared.own_writes.remember(caller, position, self.progress().indexed);
    }

    /// Finds one page of items.
    ///
    /// # Errors
    ///
    /// Returns [`SearchError::Overloaded`] within 50 ms if too many searches are in progress, and
    /// [`SearchError::Behind`] if the index does not include the caller's own writes within
    /// [`VISIBILITY_WAIT`].
    pub async fn search(
        &self,
        caller: impl Into<Searcher>,
        query: &SearchQuery,
    ) -> Result<SearchPage, SearchError> {
        let caller = caller.into();
        // Read before the search: what is listed while it runs need not be found.
        let listed_by_now = self.moved().max(self.progress().indexed);
        let mut hits = self.find(caller, query).await?;
        let is_wordless = words::is_wordless(query.text.as_str());
        // Callers act on "no hits" rather than search again, so it must be true for everything listed by now.
        // If the index can't follow at present, or nothing can ever match, waiting would not help.
        if hits.total == 0
            && !is_wordless
            && self.progress().indexed < listed_by_now
            && self.stale_for().is_none()
        {
            self.wait_until_indexed(listed_by_now, NOTHING_WAIT).await;
            // Without `was_elsewhere`: the first attempt has already waited for that.
            hits = self.find(caller.party.into(), query).await?;
        }
        // `next` comes from the index, not from these items: one that was just deleted must not end the
        // paging.
        let next = hits.cursors().next_back().filter(|_| hits.more);
        let (items, cursors): (Vec<Arc<Item>>, _) = self.complete(&hits).await?.into_iter().unzip();
        let did_you_mean =
            suggest::did_you_mean(query, &hits.near, items.first().map(Arc::as_ref), &self.wording());
        let Hits { total, categories, leniency, as_typed, .. } = hits;
        Ok(SearchPage {
            items,
            cursors,
            next,
            total,
            categories,
            leniency,
            as_typed,
            did_you_mean,
            is_wordless,
        })
    }

    /// Counts the items in each category that has any, ordered by path. Items of subcategories are not
    /// included.
    ///
    /// # Errors
    ///
    /// Fails like [`Search::search`].
    pub async fn categories(
        &self,
        caller: impl Into<Searcher>,
        query: CategoryQuery,
    ) -> Result<Vec<(Category, u64)>, SearchError> {
        self.ask_index(caller.into(), move |reader, effort| reader.categories(&query, effort)).await
    }

    /// Returns how the words of items and queries are understood.
    pub fn wording(&self) -> Wording {
        self.shared.live.reader.load().wording().clone()
    }

    /// Waits until searches see changes after a feed position.
    pub async fn wait_past(&self, position: FeedPosition) {
        let mut progress = self.shared.live.progress.subscribe();
        // Fails only if the index is closed, and then there is nothing to wait for.
        let _ = progress.wait_for(|progress| progress.indexed > position).await;
    }

    /// Waits until the index lags behind by at most [`IMPORT_LAG`]. Returns at once if it can't follow at present, because
    /// then waiting does not help.
    pub async fn wait_for_room(&self) {
        let mut progress = self.shared.live.progress.subscribe();
        while self.is_far_behind() {
            // The timeout is for an index that stops following meanwhile, which reports no progress.
            let _ = timeout(STALE_AFTER, progress.changed()).await;
        }
    }

    /// Stops the indexer and waits for it. Other handles can still search the index in its last state.
    pub async fn close(self) {
        self.shared.live.closing.cancel();
        // Taken in a statement of its own, so that the lock is not held while the thread is joined.
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else {
            return;
        };
        match tokio::task::spawn_blocking(move || thread.join()).await {
            Ok(Ok(())) => {}
            _ => tracing::error!("the search indexer panicked"),
        }
    }

    async fn find(&self, caller: Searcher, query: &SearchQuery) -> Result<Hits, SearchError> {
        let asked = query.clone();
        self.ask_index(caller, move |reader, effort| reader.find(&asked, effort)).await
    }

    /// Runs a query, once the index includes what the caller must see.
    async fn ask_index<T: Send + 'static>(
        &self,
        caller: Searcher,
        question: impl Fn(&Reader, &mut Effort) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, SearchError> {
        // Entered before waiting, so that waiting searches count towards the limit too.
        let entered = self.shared.gate.enter(caller.party)?;
        // The thread comes after the wait, so that waiting searches don't occupy threads.
        self.wait_until_visible(caller).await?;
        let reader = self.shared.live.reader.load_full();
        // Most searches take less time than waking another thread, so they are tried here.
        let mut little = Effort::up_to(CHEAP);
        let at_once = panic::catch_unwind(AssertUnwindSafe(|| question(&reader, &mut little)));
        match at_once {
            Ok(Err(Stop::TooExpensive)) => {}
            Ok(answer) => return answer.map_err(SearchError::from),
            Err(_) => {
                tracing::error!("a search panicked");
                return Err(SearchError::Thread("it panicked".to_owned()));
            }
        }
        // Dropped with this future, so that the search stops once its caller is gone.
        let patience = Patience::default();
        let mut effort = patience.effort();
        let answer = self.shared.pool.run(caller.party, move || {
            // Held by the thread, not by the caller: if its future is dropped, the thread is still busy.
            let _entered = entered;
            (question(&reader, &mut effort), effort.spent())
        });
        Ok(answer.await??)
    }

    async fn wait_until_visible(&self, caller: Searcher) -> Result<(), SearchError> {
        if caller.was_elsewhere {
            // The caller's changes lie somewhere before the end of the feed. Most of the rest are those of
            // others, for which a search must not fail, so a timeout alone is no error.
            let end = self.shared.reads.feed_end().await?;
            self.feed_moved(end);
            // `level` is checked too: an index that has never caught up may lack anything, including the
            // caller's own changes.
            let came = self.wait_until_indexed(end, VISIBILITY_WAIT).await;
            if !came && !self.progress().level {
                return Err(SearchError::Behind);
            }
        }
        let due = self.shared.own_writes.due(caller.party, self.progress().indexed);
        let is_visible = self.wait_until_indexed(due, VISIBILITY_WAIT).await;
        if is_visible { Ok(()) } else { Err(SearchError::Behind) }
    }

    /// Waits until searches see everything up to a position; `false` if that takes longer than `patience`.
    async fn wait_until_indexed(&self, position: FeedPosition, patience: Duration) -> bool {
        let is_there = |progress: &Progress| progress.level && progress.indexed >= position;
        if is_there(&self.progress()) {
            return true;
        }
        // Cuts the gathering short; without it, each search after an own write would wait for it.
        Live::raise(&self.shared.live.wanted, position);
        // Subscribed before waiting: `wait_for` looks at the current value first, so no progress is missed.
        let mut progress = self.shared.live.progress.subscribe();
        matches!(timeout(patience, progress.wait_for(is_there)).await, Ok(Ok(_)))
    }

    /// Returns the current state of those items that are still listed, in the given order, with the cursors after them.
    async fn complete(&self, hits: &Hits) -> Result<Vec<(Arc<Item>, SearchCursor)>, StoreError> {
        let numbers: Vec<_> = hits.places.iter().map(|place| place.item).collect();
        let mut items = self.shared.hits.items(&numbers).await?;
        let at = |cursor: SearchCursor| Some((items.remove(&cursor.place.item)?, cursor));
        Ok(hits.cursors().filter_map(at).collect())
    }

    /// Returns the end of the feed, as far as it was reported.
    fn moved(&self) -> FeedPosition {
        *self.shared.live.moved.borrow()
    }

    fn progress(&self) -> Progress {
        *self.shared.live.progress.borrow()
    }
}

impl Drop for Shared {
    /// Stops the indexer when the last handle is dropped.
    fn drop(&mut self) {
        // Not joined here: dropping must not block, and the thread ends by itself after its current step.
        self.live.closing.cancel();
    }
}
