//! The indexer: a thread that follows the store's item feed.
//!
//! It reads the feed from the index's position, writes the changed items, commits, and makes the commit
//! visible to searches. There is one commit at a time, and changes in the meantime go into the next. Unless
//! a search waits, changes are collected for [`GATHERING`]; a caller that must see its own write does not
//! wait for that.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use futures::FutureExt as _;
use souk_store::{FeedPosition, Reads};
use tokio::{
    sync::{Notify, oneshot, watch},
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{
    IndexHome, SearchError,
    directory::Syncs,
    feed_pages::{FeedPage, FeedPages},
    find::Reader,
    home::Opened,
    words::Wording,
    writer::Writer,
};

/// How long changes are collected before a commit, unless a search waits for them. Far below the second
/// within which every search must see them.
const GATHERING: Duration = Duration::from_millis(100);
/// The number of items that are read at a time whose documents are late.
const LATE_PAGE: usize = 500;
/// The back-off after a failure before the index is opened again.
const REOPEN_DELAY: Duration = Duration::from_secs(1);
/// The back-off grows to this: opening verifies all files, which is work that a failing disk should not get each second.
const REOPEN_DELAY_MAX: Duration = Duration::from_secs(8);

/// The progress of the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The feed position up to which searches see everything.
    pub(super) indexed: FeedPosition,
    /// Whether the index has reached the end of the feed since it was opened. Until then it may lack any
    /// item, so that searches must wait.
    pub(super) level: bool,
    /// Since when the index lacks changes that were reported. `None` if it has everything.
    pub(super) behind_since: Option<Instant>,
}

/// Why the index can't be written at the moment.
pub(super) struct Failing {
    pub(super) reason: String,
}

/// The state that the indexer shares with the searches.
pub(super) struct Live {
    pub(super) reader: ArcSwap<Reader>,
    pub(super) progress: watch::Sender<Progress>,
    /// Set while the index can't be written. Searches then use the last state that was.
    pub(super) failing: ArcSwapOption<Failing>,
    /// The end of the feed, as far as it was reported.
    pub(super) moved: watch::Sender<FeedPosition>,
    /// The highest position that a search waits for. It cuts [`GATHERING`] short.
    pub(super) wanted: watch::Sender<FeedPosition>,
    /// Notified when the store's feed turns out to end before what was indexed.
    pub(super) set_back: Notify,
    pub(super) closing: CancellationToken,
}

impl Live {
    /// Records a failure, with one line in the log for each series of them.
    fn fail(&self, reason: String) {
        match self.failing.load().as_deref() {
            None => tracing::error!(
                reason,
                "the search index failed; searches show its last state until it works"
            ),
            Some(before) if before.reason != reason => tracing::warn!(reason, "the search index still fails"),
            Some(_) => tracing::debug!(reason, "the search index still fails"),
        }
        self.failing.store(Some(Arc::new(Failing { reason })));
        self.note_lag();
    }

    /// Makes searches wait until the index has caught up again.
    fn forget_progress(&self) {
        self.progress.send_replace(Progress::default());
    }

    fn recover(&self) {
        if self.failing.swap(None).is_some() {
            tracing::info!("the search index works again");
        }
    }

    /// Notes that changes may be missing from now on, unless they already were.
    fn note_lag(&self) {
        // No waiter looks at this, so none is woken.
        self.progress.send_if_modified(|progress| {
            progress.behind_since.get_or_insert_with(Instant::now);
            false
        });
    }

    /// Raises a position, and wakes the indexer if it was lower. Positions arrive in any order and never go
    /// back.
    pub(super) fn raise(positions: &watch::Sender<FeedPosition>, position: FeedPosition) {
        positions.send_if_modified(|known| {
            // Only an increase notifies the waiters; equal or lower reports are common and would wake them for
            // nothing.
            let higher = position > *known;
            *known = position.max(*known);
            higher
        });
    }
}

/// What an index is opened with.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) home: IndexHome,
    pub(super) wording: Wording,
    /// The maximum number of documents that say something else of their items' stock or rating than is the case.
    pub(super) max_late: usize,
}

/// Starts the thread and returns when the index is open, whether or not it has caught up.
pub(super) async fn start(
    setup: Setup,
    reads: Arc<dyn Reads>,
) -> Result<(Arc<Live>, JoinHandle<()>), SearchError> {
    let (ready, opened) = oneshot::channel();
    // It has its own runtime: the store's futures may need one, and the caller's may end before the thread.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| SearchError::Thread(error.to_string()))?;
    let thread = thread::Builder::new()
        .name("souk-indexer".to_owned())
        .spawn(move || runtime.block_on(run(setup, reads, ready)))
        .map_err(|error| SearchError::Thread(error.to_string()))?;
    let live = opened.await.map_err(|_| SearchError::Thread("it ended while opening".to_owned()))??;
    Ok((live, thread))
}

async fn run(setup: Setup, reads: Arc<dyn Reads>, ready: oneshot::Sender<Result<Arc<Live>, SearchError>>) {
    let mut indexer = match Indexer::open(&setup, &reads).await {
        Ok((opened, _)) => opened,
        Err(error) => {
            // Fails only if the caller has gone away, and then no one needs the index.
            let _ = ready.send(Err(error));
            return;
        }
    };
    let live = Arc::new(Live {
        reader: ArcSwap::new(Arc::clone(&indexer.reader)),
        progress: watch::Sender::new(Progress::default()),
        failing: ArcSwapOption::empty(),
        moved: watch::Sender::new(indexer.read_to),
        wanted: watch::Sender::default(),
        set_back: Notify::new(),
        closing: CancellationToken::new(),
    });
    // The opener has gone, so nobody holds the index and there is nothing to follow for.
    if ready.send(Ok(Arc::clone(&live))).is_err() {
        return;
    }
    let mut delay = REOPEN_DELAY / 2;
    loop {
        // A panic in the index library must not end the thread, or searches would silently become stale.
        match AssertUnwindSafe(indexer.follow(&live)).catch_unwind().await {
            Ok(Ok(())) => {
                indexer.writer.close();
                return;
            }
            Ok(Err(error @ SearchError::SetBack)) => {
                tracing::warn!("{error}; reopening the search index");
                live.forget_progress();
            }
            // What was committed before is whole, and better than nothing for those who have changed nothing since.
            Ok(Err(error)) => live.fail(error.to_string()),
            Err(_) => {
                live.fail("it panicked".to_owned());
                // Searches wait rather than use an index of unknown state.
                live.forget_progress();
            }
        }
        // Must be dropped before it is opened again, because the writer holds a lock.
        drop(indexer);
        delay = if live.failing.load().is_some() { (delay * 2).min(REOPEN_DELAY_MAX) } else { REOPEN_DELAY };
        let Some(reopened) = reopen(&setup, &reads, &live, delay).await else {
            return;
        };
        indexer = reopened;
    }
}

/// Opens the index again, retrying until it succeeds; `None` if the market closes.
async fn reopen(setup: &Setup, reads: &Arc<dyn Reads>, live: &Live, mut delay: Duration) -> Option<Indexer> {
    loop {
        tokio::select! {
            () = live.closing.cancelled() => return None,
            // Before the first attempt as well: an index that fails on every commit would otherwise be
            // reopened in a tight loop.
            () = time::sleep(delay) => {}
        }
        delay = (delay * 2).min(REOPEN_DELAY_MAX);
        match Indexer::open(setup, reads).await {
            Ok((indexer, was_set_back)) => {
                if was_set_back {
                    live.forget_progress();
                }
                if !live.progress.borrow().level {
                    // Positions of a feed that has been set back may never be reached, and waiting for them
                    // would never end.
                    live.moved.send_replace(indexer.read_to);
                    live.wanted.send_replace(FeedPosition::default());
                    live.reader.store(Arc::clone(&indexer.reader));
                }
                // Clears further notifications of the same incident, which would reopen the index again.
                let _ = live.set_back.notified().now_or_never();
                return Some(indexer);
            }
            Err(error) => live.fail(error.to_string()),
        }
    }
}

struct Indexer {
    reads: Arc<dyn Reads>,
    writer: Writer,
    /// What searches see once it has caught up.
    reader: Arc<Reader>,
    /// The feed position up to which changes were written. The index as committed may end before it.
    read_to: FeedPosition,
    syncs: Syncs,
}

impl Indexer {
    /// Opens the index. Also returns whether the store had been set back, so that the index was rebuilt.
    async fn open(setup: &Setup, reads: &Arc<dyn Reads>) -> Result<(Self, bool), SearchError> {
        let Setup { home, wording, max_late } = setup;
        let mut opened = home.open(wording)?;
        let was_set_back = is_ahead(opened.extent.latest, &**reads).await?;
        if was_set_back {
            tracing::warn!("the search index is ahead of the store; rebuilding it");
            // Must be closed before the folder is cleared.
            drop(opened);
            opened = home.create(wording)?;
        }
        let Opened { reader, writer, extent, directory } = opened;
        let (reads, reader, syncs) = (Arc::clone(reads), Arc::new(reader), Syncs::new(directory));
        let writer = Writer::new(writer, Arc::clone(&reader), extent, *max_late)?;
        Ok((Self { reads, writer, reader, read_to: extent.complete, syncs }, was_set_back))
    }

    /// Follows the feed until the market closes, or the store turns out to be set back.
    async fn follow(&mut self, live: &Live) -> Result<(), SearchError> {
        let (mut moved, mut wanted) = (live.moved.subscribe(), live.wanted.subscribe());
        loop {
            self.catch_up(live).await?;
            let (late_due, merge_due) = (self.writer.late_due(), self.writer.merge_due());
            let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= Instant::now());
            if is_due(late_due) {
                self.write_late().await?;
                continue;
            }
            if is_due(merge_due) {
                self.writer.merge(self.read_to)?;
            }
            let next_due = late_due.into_iter().chain(self.writer.merge_due()).min();
            // Changes that were reported meanwhile are not lost: `wait_for` compares with what is indexed by
            // now.
            let shown = live.progress.borrow().indexed;
            tokio::select! {
                () = live.closing.cancelled() => return Ok(()),
                () = live.set_back.notified() => return Err(SearchError::SetBack),
                // The files are checked when the index is opened again.
                failure = self.syncs.until_failure() => return Err(failure),
                () = time::sleep_until(next_due.unwrap_or_else(Instant::now)), if next_due.is_some() => continue,
                _ = moved.wait_for(|moved| *moved > shown) => live.note_lag(),
            }
            tokio::select! {
                () = live.closing.cancelled() => return Ok(()),
                _ = wanted.wait_for(|wanted| *wanted > shown) => {}
                () = time::sleep(GATHERING) => {}
            }
        }
    }

    /// Brings the index up to the end of the feed.
    async fn catch_up(&mut self, live: &Live) -> Result<(), SearchError> {
        let target = *live.moved.borrow();
        let mut feed = FeedPages::after(self.read_to, Arc::clone(&self.reads));
        while !live.closing.is_cancelled() {
            let FeedPage { entries, is_last } = feed.next().await?;
            self.writer.write(&entries)?;
            let read_to = entries.last().map_or(self.read_to, |entry| entry.position);
            if self.writer.is_full() || (is_last && self.writer.is_dirty()) {
                self.writer.commit(read_to)?;
            }
            self.read_to = read_to;
            // After the commit, because callers that wait for this position search as soon as it is published. An
            // index that was reopened after a failure replaces the last state only when it has caught up: rebuilt
            // from nothing, it would show less.
            let is_shown = Arc::ptr_eq(&live.reader.load(), &self.reader);
            if is_shown && !self.writer.is_dirty() {
                live.progress.send_if_modified(|progress| {
                    let is_further = read_to > progress.indexed;
                    progress.indexed = read_to.max(progress.indexed);
                    is_further
                });
            }
            if is_last {
                // Not to the reported end of the feed, only to what was read. After a failover, the database
                // may assign positions again that were never committed on the old primary.
                if !is_shown {
                    live.reader.store(Arc::clone(&self.reader));
                }
                live.recover();
                live.progress.send_modify(|progress| {
                    // A feed can end before its reported end: at the horizon of a shared database.
                    let behind_since = progress.behind_since.filter(|_| read_to < target);
                    *progress = Progress { indexed: read_to, level: true, behind_since };
                });
                return Ok(());
            }
        }
        Ok(())
    }

    /// Writes the documents that are late.
    async fn write_late(&mut self) -> Result<(), SearchError> {
        for ids in self.writer.late().chunks(LATE_PAGE) {
            let items = self.reads.items(ids).await?;
            self.writer.write_late(&items)?;
        }
        self.writer.commit(self.read_to)
    }
}

/// Returns whether the store's feed ends before a position, so that the index contains what the store does
/// not.
///
/// The last entry of a feed never disappears: an item stays in it, at its latest change. So a feed that has
/// ever reached a position has an entry there or later.
async fn is_ahead(position: FeedPosition, reads: &dyn Reads) -> Result<bool, SearchError> {
    // The feed is read after a position, so one less asks for this entry or a later one.
    let before = FeedPosition(position.0 - 1);
    Ok(position > FeedPosition(0) && reads.item_feed(before, 1).await?.is_empty())
}
