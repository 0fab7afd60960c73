//! The hub: follows what may change a result, and compares each changed item once.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use souk_domain::{Item, ItemId, PartyId};
use souk_search::{ItemTerms, Search, SearchLoad};
use souk_store::{ItemQuery, Reads, StoreError};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{Progress, Shared, WatchParts, groups::End};
use crate::access::Suspended;

/// Number of items that are read from the store at a time.
const PAGE: usize = 256;
/// Delay after a failure to read the store.
const RETRY_DELAY: Duration = Duration::from_millis(250);
/// How often a page of the watched items is compared on a shared store, whose stock may be moved by other markets.
const SWEEP: Duration = Duration::from_millis(250);

pub(super) struct Hub {
    shared: Arc<Shared>,
    reads: Arc<dyn Reads>,
    search: Search,
    suspended: Suspended,
    notified: watch::Receiver<()>,
    is_shared: bool,
    closing: CancellationToken,
    /// The suspended sellers as of the last look.
    hidden: Arc<HashSet<PartyId>>,
    /// Sellers whose items have appeared or disappeared, each with the last item that was compared.
    sellers: VecDeque<(PartyId, Option<ItemId>)>,
    /// Where the last sweep ended.
    swept: ItemId,
    is_failing: bool,
}

impl Hub {
    pub(super) fn new(shared: Arc<Shared>, parts: WatchParts) -> Self {
        let WatchParts { reads, search, suspended, is_shared, closing } = parts;
        let (notified, hidden) = (suspended.changes(), suspended.all());
        let (sellers, swept) = (VecDeque::new(), ItemId(0));
        Self {
            shared,
            reads,
            search,
            suspended,
            notified,
            is_shared,
            closing,
            hidden,
            sellers,
            swept,
            is_failing: false,
        }
    }

    /// Runs until the market closes.
    pub(super) async fn run(mut self) {
        let closing = self.closing.clone();
        tokio::select! {
            () = closing.cancelled() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&mut self) {
        let mut sweeps = interval(SWEEP);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            match self.step().await {
                Ok(true) => self.is_failing = false,
                Ok(false) => {
                    self.is_failing = false;
                    self.work(&mut sweeps).await;
                }
                // What was not compared now is compared later. Watchers need not be notified of the failure.
                Err(error) => {
                    if !self.is_failing {
                        tracing::warn!(%error, "can't read the store for watched searches; they report changes later");
                    }
                    self.is_failing = true;
                    sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    /// Waits until there may be something to do.
    async fn work(&mut self, sweeps: &mut tokio::time::Interval) {
        let (is_empty, position) = {
            let state = self.shared.lock();
            (state.groups.is_empty(), state.position)
        };
        tokio::select! {
            () = self.shared.work.notified() => {}
            // Fails only if the set has been dropped, but `self` holds it.
            _ = self.notified.changed() => {}
            () = self.search.wait_past(position), if !is_empty => {}
            _ = sweeps.tick(), if self.is_shared && !is_empty => self.sweep(),
        }
    }

    /// Adds the next of the watched items to those that are compared.
    fn sweep(&mut self) {
        let mut state = self.shared.lock();
        let items = state.groups.items_after(self.swept, PAGE);
        self.swept = items.last().copied().unwrap_or_default();
        state.moved.extend(items);
    }

    /// Compares a page of each kind of change. Returns whether there may be more.
    async fn step(&mut self) -> Result<bool, StoreError> {
        // First, so that no item is compared with an outdated set of suspended sellers.
        self.note_suspensions();
        self.answer().await?;
        let moved = self.stock().await?;
        let sellers = self.suspensions().await?;
        Ok(self.feed().await? || moved || sellers)
    }

    /// Compares the items that watchers have asked for.
    async fn answer(&self) -> Result<(), StoreError> {
        let (asked, questions) = {
            let mut state = self.shared.lock();
            (std::mem::take(&mut state.asked), state.questions)
        };
        let asked: Vec<ItemId> = asked.into_iter().collect();
        for (number, page) in asked.chunks(PAGE).enumerate() {
            if let Err(error) = self.compare(page).await {
                // Asked again; the questions are still open.
                self.shared.lock().asked.extend(&asked[number * PAGE..]);
                return Err(error);
            }
        }
        // Only now: a watcher that is answered takes the result as it is.
        self.report(|progress| progress.questions = questions);
        Ok(())
    }

    /// Compares items whose stock has moved.
    async fn stock(&self) -> Result<bool, StoreError> {
        let (page, more) = {
            let mut state = self.shared.lock();
            if std::mem::take(&mut state.all_moved) {
                let all = state.groups.items_after(ItemId(0), usize::MAX);
                state.moved.extend(all);
            }
            let page: Vec<ItemId> = state.moved.iter().copied().take(PAGE).collect();
            page.iter().for_each(|item| {
                state.moved.remove(item);
            });
            (page, !state.moved.is_empty())
        };
        if let Err(error) = self.compare(&page).await {
            self.shared.lock().moved.extend(page);
            return Err(error);
        }
        Ok(more)
    }

    /// Notes which sellers were suspended or reinstated since the last look.
    fn note_suspensions(&mut self) {
        let now = self.suspended.all();
        if Arc::ptr_eq(&now, &self.hidden) {
            return;
        }
        let changed: Vec<PartyId> = now.symmetric_difference(&self.hidden).copied().collect();
        // From the start, also if a seller's items are still being compared for an earlier change.
        self.sellers.retain(|(seller, _)| !changed.contains(seller));
        self.sellers.extend(changed.into_iter().map(|seller| (seller, None)));
        self.hidden = now;
    }

    /// Compares a page of the items of sellers that were suspended or reinstated.
    async fn suspensions(&mut self) -> Result<bool, StoreError> {
        if self.shared.lock().groups.is_empty() {
            self.sellers.clear();
        }
        let Some((seller, after)) = self.sellers.front().copied() else { return Ok(false) };
        let query = ItemQuery { seller, withdrawn: false, after, limit: PAGE };
        let page = self.reads.seller_items(&query).await?;
        self.evaluate(&page);
        // One page in turn, so that a seller with many items does not hold up the others.
        self.sellers.pop_front();
        if page.len() == PAGE {
            self.sellers.push_back((seller, page.last().map(|item| item.id)));
        }
        Ok(!self.sellers.is_empty())
    }

    /// Compares a page of the item feed, up to where the index is.
    async fn feed(&self) -> Result<bool, StoreError> {
        let SearchLoad { indexed, level, .. } = self.search.load();
        let position = {
            let mut state = self.shared.lock();
            if state.groups.is_empty() {
                return Ok(false);
            }
            if level && indexed < state.position {
                // Results may contain what the store has lost, and nothing reports that.
                state.groups.end_all(End::SetBack);
                state.position = indexed;
                return Ok(false);
            }
            state.position
        };
        if indexed <= position {
            self.report(|progress| progress.position = position);
            return Ok(false);
        }
        let mut entries = self.reads.item_feed(position, PAGE).await?;
        let is_all = entries.len() < PAGE;
        entries.retain(|entry| entry.position <= indexed);
        // If the whole rest of the feed was read, skip to what is indexed even if no entry is that far.
        let last = entries.last().map_or(position, |entry| entry.position);
        let position = if is_all { last.max(indexed) } else { last };
        let items: Vec<Item> = entries.into_iter().map(|entry| entry.item).collect();
        self.evaluate(&items);
        self.shared.lock().position = position;
        self.report(|progress| progress.position = position);
        Ok(position < indexed)
    }

    /// Compares the current states of items.
    async fn compare(&self, ids: &[ItemId]) -> Result<(), StoreError> {
        if !ids.is_empty() {
            let items = self.reads.items(ids).await?;
            self.evaluate(&items);
        }
        Ok(())
    }

    fn evaluate(&self, items: &[Item]) {
        let wording = self.search.wording();
        for item in items {
            let is_hidden = self.hidden.contains(&item.seller);
            // Before the lock, which is taken for one item at a time: a commit may be waiting for it.
            let terms = (!is_hidden).then(|| ItemTerms::of(item, &wording));
            self.shared.lock().groups.evaluate(item, terms.as_ref());
        }
    }

    fn report(&self, change: impl FnOnce(&mut Progress)) {
        self.shared.progress.send_if_modified(|progress| {
            let before = *progress;
            change(progress);
            *progress != before
        });
    }
}
