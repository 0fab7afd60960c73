//! The indexer: a thread that follows the item feed.
//!
//! It reads the feed from where the index stands, writes what changed, commits, and lets searches see it.
//! There is one commit at a time; what changes meanwhile goes into the next. While nobody waits, changes
//! are gathered for [`GATHERING`]; a caller who must see its own write is served at once.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use arc_swap::ArcSwap;
use futures::FutureExt as _;
use souk_store::{FeedEntry, FeedPosition, Reads};
use tantivy::IndexWriter;
use tokio::{
    sync::{Notify, oneshot, watch},
    time,
};
use tokio_util::sync::CancellationToken;

use super::{
    IndexHome, SearchError,
    find::Reader,
    home::{self, Opened},
};

/// How long changes are gathered before they are committed, unless somebody waits for them. Far below the
/// second after which everybody must see them.
const GATHERING: Duration = Duration::from_millis(100);
/// How many feed entries are read at a time.
const FEED_PAGE: usize = 500;
/// While catching up, how many changes go into one commit at most, about.
const COMMIT_EVERY: usize = 20_000;
/// How long to wait after a failure before the index is opened again.
const REOPEN_DELAY: Duration = Duration::from_secs(1);

/// How far the index is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Up to here in the feed, searches see everything.
    pub(super) indexed: FeedPosition,
    /// Whether the index was once level with the store since it was opened. Until then it may lack any
    /// item.
    pub(super) level: bool,
}

/// What the indexer and the searches share.
pub(super) struct Live {
    pub(super) reader: ArcSwap<Reader>,
    pub(super) progress: watch::Sender<Progress>,
    /// Where the feed is, as far as told.
    pub(super) moved: watch::Sender<FeedPosition>,
    /// The highest position that somebody waits for.
    pub(super) wanted: watch::Sender<FeedPosition>,
    /// The store's feed ends before what was indexed.
    pub(super) set_back: Notify,
    pub(super) closing: CancellationToken,
}

impl Live {
    /// Raises a position and wakes the indexer if it was lower.
    pub(super) fn raise(positions: &watch::Sender<FeedPosition>, position: FeedPosition) {
        positions.send_if_modified(|known| {
            let higher = position > *known;
            *known = position.max(*known);
            higher
        });
    }
}

/// Starts the thread; answers when the index is open, level or not.
pub(super) async fn start(
    home: IndexHome,
    reads: Arc<dyn Reads>,
) -> Result<(Arc<Live>, JoinHandle<()>), SearchError> {
    let (ready, opened) = oneshot::channel();
    // A runtime of its own: the store's futures may need one, and the caller's may end before the thread.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| SearchError::Thread(error.to_string()))?;
    let thread = thread::Builder::new()
        .name("souk-indexer".to_owned())
        .spawn(move || runtime.block_on(run(home, reads, ready)))
        .map_err(|error| SearchError::Thread(error.to_string()))?;
    let live = opened.await.map_err(|_| SearchError::Thread("it ended while opening".to_owned()))??;
    Ok((live, thread))
}

async fn run(home: IndexHome, reads: Arc<dyn Reads>, ready: oneshot::Sender<Result<Arc<Live>, SearchError>>) {
    let (mut indexer, reader) = match Indexer::open(&home, &reads).await {
        Ok(opened) => opened,
        Err(error) => {
            // Nobody to tell means nobody to work for.
            let _ = ready.send(Err(error));
            return;
        }
    };
    let live = Arc::new(Live {
        reader: ArcSwap::from_pointee(reader),
        progress: watch::Sender::new(Progress::default()),
        moved: watch::Sender::new(indexer.position),
        wanted: watch::Sender::default(),
        set_back: Notify::new(),
        closing: CancellationToken::new(),
    });
    if ready.send(Ok(Arc::clone(&live))).is_err() {
        return;
    }
    loop {
        // A panic in the index library must not end the thread: searches would go stale unnoticed.
        match AssertUnwindSafe(indexer.follow(&live)).catch_unwind().await {
            Ok(Ok(())) => {
                // Merges go on after the writer is gone, and whoever closes a market may remove its folder.
                if let Err(error) = indexer.writer.wait_merging_threads() {
                    tracing::warn!(%error, "the search index was not tidied up; nothing is lost");
                }
                return;
            }
            Ok(Err(error)) => tracing::error!(error = %error, "the search index failed and is opened again"),
            Err(_) => tracing::error!("the search index panicked and is opened again"),
        }
        live.progress.send_replace(Progress::default());
        // Closed before it is opened again: it has a lock.
        drop(indexer);
        let Some(reopened) = reopen(&home, &reads, &live).await else {
            return;
        };
        indexer = reopened;
    }
}

/// Opens the index again, as often as it takes; `None` when the market closes.
async fn reopen(home: &IndexHome, reads: &Arc<dyn Reads>, live: &Live) -> Option<Indexer> {
    loop {
        tokio::select! {
            () = live.closing.cancelled() => return None,
            () = time::sleep(REOPEN_DELAY) => {}
        }
        match Indexer::open(home, reads).await {
            Ok((indexer, reader)) => {
                live.reader.store(Arc::new(reader));
                // What was told of a feed that ends sooner now would never come.
                live.moved.send_replace(indexer.position);
                live.wanted.send_replace(FeedPosition::default());
                // It was, and was told more than once.
                let _ = live.set_back.notified().now_or_never();
                return Some(indexer);
            }
            Err(error) => tracing::error!(error = %error, "the search index can't be opened"),
        }
    }
}

struct Indexer {
    reads: Arc<dyn Reads>,
    writer: IndexWriter,
    /// Up to here, everything is written and committed.
    position: FeedPosition,
}

impl Indexer {
    async fn open(home: &IndexHome, reads: &Arc<dyn Reads>) -> Result<(Self, Reader), SearchError> {
        let mut opened = home.open()?;
        if is_ahead(opened.position, &**reads).await? {
            tracing::warn!("the search index is ahead of the store and is built again");
            // Closed before it is cleared.
            drop(opened);
            opened = home.create()?;
        }
        let Opened { reader, writer, position } = opened;
        Ok((Self { reads: Arc::clone(reads), writer, position }, reader))
    }

    /// Follows the feed until the market closes.
    async fn follow(&mut self, live: &Live) -> Result<(), SearchError> {
        let (mut moved, mut wanted) = (live.moved.subscribe(), live.wanted.subscribe());
        loop {
            self.catch_up(live).await?;
            let shown = live.progress.borrow().indexed;
            tokio::select! {
                () = live.closing.cancelled() => return Ok(()),
                () = live.set_back.notified() => return Err(SearchError::SetBack),
                _ = moved.wait_for(|moved| *moved > shown) => {}
            }
            tokio::select! {
                () = live.closing.cancelled() => return Ok(()),
                _ = wanted.wait_for(|wanted| *wanted > shown) => {}
                () = time::sleep(GATHERING) => {}
            }
        }
    }

    /// Brings the index to the end of the feed.
    async fn catch_up(&mut self, live: &Live) -> Result<(), SearchError> {
        let mut read_to = self.position;
        let mut uncommitted = 0;
        while !live.closing.is_cancelled() {
            let entries = self.reads.item_feed(read_to, FEED_PAGE).await?;
            self.write(live, &entries)?;
            uncommitted += entries.len();
            read_to = entries.last().map_or(read_to, |entry| entry.position);
            let is_end = entries.len() < FEED_PAGE;
            if uncommitted >= COMMIT_EVERY || (is_end && uncommitted > 0) {
                home::commit(&mut self.writer, read_to)?;
                self.position = read_to;
                uncommitted = 0;
                live.reader.load().index.reload()?;
                live.progress.send_modify(|progress| progress.indexed = read_to.max(progress.indexed));
            }
            if is_end {
                // Never further than what was read: a database that another took over for may give positions out
                // again that came to nothing at the first.
                live.progress.send_replace(Progress { indexed: read_to, level: true });
                return Ok(());
            }
        }
        Ok(())
    }

    fn write(&self, live: &Live, entries: &[FeedEntry]) -> Result<(), SearchError> {
        let fields = live.reader.load().fields;
        for FeedEntry { item, .. } in entries {
            self.writer.delete_term(fields.item_term(item.id.0));
            if item.is_listed() {
                self.writer.add_document(fields.document(item))?;
            }
        }
        Ok(())
    }
}

/// Whether the store's feed ends before a position, so that the index holds what the store does not. The
/// last entry of a feed never goes away (an item stays in it, at its latest change), so a feed that ever
/// came to a position has an entry there or later.
async fn is_ahead(position: FeedPosition, reads: &dyn Reads) -> Result<bool, SearchError> {
    let before = FeedPosition(position.0 - 1);
    Ok(position > FeedPosition(0) && reads.item_feed(before, 1).await?.is_empty())
}
