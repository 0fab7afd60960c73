//! Watched searches: every distinct query is compared at most once with every changed item, however many watchers it has, and
//! only if the item has the query's rarest word.
//!
//! One thread, the hub, follows the item feed as the index does, the suspensions, and the stock moves that are not in
//! the feed. It keeps the result of each query. A watcher is notified when its result has changed, and compares it with
//! what it has sent. So nothing is queued for a watcher: one that is slow, or a market that is busy, merges changes.

mod groups;
mod hub;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use souk_domain::{ItemId, PartyId};
use souk_search::{Conditions, Search};
use souk_store::{FeedPosition, Reads};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::access::Suspended;
pub use groups::{Difference, End, MAX_WATCHES, MAX_WATCHES_OF_PARTY};
use groups::{GroupId, Groups};
use hub::Hub;

/// Maximum number of items whose stock has moved and that wait to be compared. If there are more, all watched items are.
const MAX_MOVED: usize = 65_536;

/// The dependencies of [`Watches`].
pub struct WatchParts {
    /// The store, from which items are read.
    pub reads: Arc<dyn Reads>,
    /// The index, whose progress the watches follow.
    pub search: Search,
    /// The suspended sellers, whose items no search finds.
    pub suspended: Suspended,
    /// Whether other markets may change the store.
    pub is_shared: bool,
    /// Ends the thread when it is cancelled.
    pub closing: CancellationToken,
}

/// All watched searches of a market. Clones share them.
#[derive(Clone)]
pub struct Watches {
    shared: Arc<Shared>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

struct Shared {
    state: Mutex<State>,
    /// Whether anything is watched. Read at every commit, without the lock.
    is_used: AtomicBool,
    work: Notify,
    progress: watch::Sender<Progress>,
    search: Search,
}

#[derive(Default)]
struct State {
    groups: Groups,
    /// The feed position up to which items have been compared. Meaningful only while anything is watched.
    position: FeedPosition,
    /// Items to compare because a watcher has asked for it.
    asked: HashSet<ItemId>,
    /// The number of times that a watcher has asked.
    questions: u64,
    /// Items whose stock has moved.
    moved: HashSet<ItemId>,
    /// Whether more stock has moved than is remembered.
    all_moved: bool,
}

/// How far the hub has come.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    /// The feed position up to which items have been compared.
    position: FeedPosition,
    /// The last question that was answered.
    questions: u64,
}

/// A watcher's place in a group, released on drop.
pub struct Watch {
    shared: Arc<Shared>,
    party: PartyId,
    group: GroupId,
    news: watch::Receiver<()>,
}

impl Watches {
    /// Starts the thread that follows the changes.
    pub fn start(parts: WatchParts) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            is_used: AtomicBool::new(false),
            work: Notify::new(),
            progress: watch::Sender::default(),
            search: parts.search.clone(),
        });
        let hub = Hub::new(Arc::clone(&shared), parts);
        // A runtime of its own: comparing items is CPU work that would stall the calls of a server thread.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("souk-watches".to_owned());
        let thread = thread.spawn(move || runtime.block_on(hub.run()))?;
        Ok(Self { shared, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Begins to follow a query for a party. `None` if the maximum number of watched searches, in total or of the party,
    /// is reached.
    pub fn join(&self, party: PartyId, conditions: Conditions) -> Option<Watch> {
        let mut state = self.shared.lock();
        if state.groups.is_empty() {
            // Nothing was followed until now. Read before the caller searches: a change in between is then compared
            // twice, which is harmless; the other way round it would be missed.
            state.position = self.shared.search.load().indexed;
        }
        let (group, news) = state.groups.join(party, conditions)?;
        self.shared.is_used.store(true, Ordering::SeqCst);
        drop(state);
        self.shared.work.notify_one();
        Some(Watch { shared: Arc::clone(&self.shared), party, group, news })
    }

    /// Notes that a commit has changed items without moving them in the feed. Never blocks for long.
    pub fn stock_moved(&self, items: &[ItemId]) {
        if items.is_empty() || !self.shared.is_used.load(Ordering::SeqCst) {
            return;
        }
        let mut state = self.shared.lock();
        let State { groups, moved, .. } = &mut *state;
        // Such a change makes no item match that did not.
        moved.extend(items.iter().filter(|item| groups.contains(**item)));
        if moved.len() > MAX_MOVED {
            moved.clear();
            state.all_moved = true;
        }
        drop(state);
        self.shared.work.notify_one();
    }

    /// Returns the number of distinct queries.
    pub fn queries(&self) -> usize {
        self.shared.lock().groups.len()
    }

    /// Returns how many times a query was compared with a changed item.
    pub fn comparisons(&self) -> u64 {
        self.shared.lock().groups.compared()
    }

    /// Waits for the thread to end, which it does once the market closes.
    pub async fn ended(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        if !matches!(tokio::task::spawn_blocking(move || thread.join()).await, Ok(Ok(()))) {
            tracing::error!("the thread of the watched searches panicked");
        }
    }
}

impl Watch {
    /// Requests the comparison of items that a search has found. Waits until they are compared, and everything that is
    /// indexed by now.
    pub async fn compare(&self, items: impl Iterator<Item = ItemId>) {
        let mut progress = self.shared.progress.subscribe();
        let target = self.shared.search.load().indexed;
        let question = {
            let mut state = self.shared.lock();
            state.asked.extend(items);
            state.questions += 1;
            state.questions
        };
        self.shared.work.notify_one();
        let is_there = |progress: &Progress| progress.questions >= question && progress.position >= target;
        // Fails only if the market closes, which ends the stream.
        let _ = progress.wait_for(is_there).await;
    }

    /// Waits until the result has changed.
    pub async fn changed(&mut self) {
        // Never fails, because the group has this watcher.
        let _ = self.news.changed().await;
    }

    /// Returns what has changed in the result after a change, at most `limit` items, and which of the known items are
    /// gone.
    ///
    /// # Errors
    /// The watch can't go on.
    pub fn difference(
        &mut self,
        after: u64,
        known: impl Iterator<Item = ItemId>,
        limit: usize,
    ) -> Result<Difference, End> {
        // Before looking: a change after that is a new notification.
        self.news.mark_unchanged();
        self.shared.lock().groups.difference(self.group, after, known, limit)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.groups.leave(self.party, self.group);
        if state.groups.is_empty() {
            self.shared.is_used.store(false, Ordering::SeqCst);
            state.moved.clear();
            state.asked.clear();
        }
    }
}

impl Shared {
    /// Locks the state. A poisoned lock is safe to use: no update under it can panic half-way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
