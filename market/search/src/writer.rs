//! Writing the index: which changes of items become documents, and when.
//!
//! An item is indexed again at once only if what its document says by its words, price and category has changed. Searches
//! see its stock, rating and rank at once ([`Reader::show_states`]). What a document says of them follows within
//! [`LATE_AFTER`](super::late::LATE_AFTER), for many purchases and ratings at once.
//!
//! Until then, the index is complete only up to the position before them: after a crash, the feed is read from there.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use souk_domain::{Item, ItemId};
use souk_store::{FeedEntry, FeedPosition};
use tantivy::{IndexWriter, TantivyDocument, indexer::UserOperation};
use tokio::time::Instant;

use super::{
    SearchError,
    committed::Committed,
    find::Reader,
    home::{self, Extent},
    late::{Late, LateItem},
    merging::MergeAlike,
    numbers::Numbers,
    said::Said,
    schema,
};

/// The approximate maximum of changes in one commit while catching up, so that a crash loses little progress.
const COMMIT_EVERY: usize = 20_000;
/// Up to so many changes since the last commit, those of a page of the feed are given to one of the writer's threads
/// together. So a small commit makes one segment: each segment has its own dictionaries, and to write and to merge them is
/// most of the work of an import.
const TOGETHER: usize = 16_384;
/// The number of changes that are given to a thread at a time if there are more. Up to 10,000 such batches wait for the
/// threads, which bounds their memory.
const BATCH: usize = 4;

/// A commit of so many changes belongs to an import, during which segments are merged rarely.
const LARGE_COMMIT: usize = 1_000;
/// An import is over when there was no large commit for so long. Then its segments are merged for the searches.
const MERGE_AFTER: Duration = Duration::from_secs(1);

/// The writer of an index that is open.
pub(super) struct Writer {
    index: IndexWriter,
    reader: Arc<Reader>,
    /// The items that have a document, committed or not.
    held: Numbers,
    /// What was written since the last commit; `None` for a document that was deleted. Not kept while the index is built.
    written: HashMap<i64, Option<Said>>,
    /// The documents of the last commit, opened when they are first needed.
    committed: Option<Committed>,
    late: Late,
    /// The number of changes since the last commit.
    uncommitted: usize,
    /// The position of the latest change that was committed.
    latest: FeedPosition,
    /// Whether the index has never been committed. Then nothing of it is in use, and it is built by one commit.
    is_new: bool,
    /// When the segments of an import are merged; `None` if there is none.
    merge_due: Option<Instant>,
}

impl Writer {
    /// Takes over an index as it was committed.
    pub(super) fn new(
        index: IndexWriter,
        reader: Arc<Reader>,
        extent: Extent,
        max_late: usize,
    ) -> Result<Self, SearchError> {
        let mut writer = Self {
            index,
            reader,
            held: Numbers::default(),
            written: HashMap::new(),
            committed: None,
            late: Late::new(max_late),
            uncommitted: 0,
            latest: extent.latest,
            is_new: extent == Extent::default(),
            merge_due: None,
        };
        writer.look_through()?;
        Ok(writer)
    }

    /// Notes which items have a document.
    fn look_through(&mut self) -> tantivy::Result<()> {
        for segment in self.reader.searcher().segment_readers() {
            let items = segment.fast_fields().i64(schema::ITEM)?;
            for item in segment.doc_ids_alive().filter_map(|document| items.first(document)) {
                self.held.insert(item);
            }
        }
        Ok(())
    }

    /// Writes changed items. Their stock and ratings are visible at once, the rest with the next commit.
    pub(super) fn write(&mut self, entries: &[FeedEntry]) -> Result<(), SearchError> {
        let (mut operations, mut states) = (Vec::new(), BTreeMap::new());
        for FeedEntry { item, position } in entries {
            let (number, now) = (item.id.0, Said::of(item));
            match if item.is_listed() { self.says(item.id)? } else { None } {
                Some(said) if said == now => {
                    if self.late.remove(number) {
                        states.insert(number, now.state);
                    }
                }
                Some(said) if said.contents == now.contents && self.late.has_room_for(number) => {
                    self.late.insert(number, *position, now);
                    states.insert(number, now.state);
                }
                _ => self.replace(item, now, &mut operations),
            }
        }
        if !states.is_empty() {
            self.reader.show_states(&states.into_iter().collect::<Vec<_>>());
        }
        self.run(operations)
    }

    /// Writes items whose documents are late, as they are now in the store.
    pub(super) fn write_late(&mut self, items: &[Item]) -> Result<(), SearchError> {
        let mut operations = Vec::new();
        for item in items {
            let Some(LateItem { said, .. }) = self.late.get(item.id.0) else { continue };
            // What has changed since the feed was read comes with the feed. An index that held it earlier would not
            // notice if the store lost it.
            if item.is_listed() && said.contents == Said::of(item).contents {
                self.replace(item, said, &mut operations);
            }
        }
        self.late.restart();
        self.run(operations)
    }

    /// Returns when the late documents must be written; `None` if there are none.
    pub(super) fn late_due(&self) -> Option<Instant> {
        self.late.due()
    }

    /// Returns the items whose documents are late.
    pub(super) fn late(&self) -> Vec<ItemId> {
        self.late.numbers().map(ItemId).collect()
    }

    /// Returns whether anything was written since the last commit.
    pub(super) fn is_dirty(&self) -> bool {
        self.uncommitted > 0
    }

    /// Returns whether it is time for a commit although there is more to write.
    pub(super) fn is_full(&self) -> bool {
        self.uncommitted >= COMMIT_EVERY && !self.is_new
    }

    /// Commits what was written, with the feed up to a position, and shows it to searches.
    pub(super) fn commit(&mut self, read_to: FeedPosition) -> Result<(), SearchError> {
        self.latest = self.latest.max(read_to);
        if self.uncommitted >= LARGE_COMMIT && !self.is_new {
            if self.merge_due.is_none() {
                self.index.set_merge_policy(Box::new(MergeAlike::RARELY));
            }
            self.merge_due = Some(Instant::now() + MERGE_AFTER);
        }
        // What the documents don't say yet is read again after a crash.
        let complete = self.late.complete().map_or(read_to, |late| late.min(read_to));
        home::commit(&mut self.index, Extent { complete, latest: self.latest }, self.reader.wording())?;
        self.reader.reload(&self.late.states())?;
        self.written.clear();
        (self.committed, self.uncommitted, self.is_new) = (None, 0, false);
        Ok(())
    }

    /// Returns when the segments of an import must be merged; `None` if there is none.
    pub(super) fn merge_due(&self) -> Option<Instant> {
        self.merge_due
    }

    /// Merges the segments of an import, in the background.
    pub(super) fn merge(&mut self, read_to: FeedPosition) -> Result<(), SearchError> {
        self.merge_due = None;
        self.index.set_merge_policy(Box::new(MergeAlike::FEW));
        // A commit looks for segments to merge, even if it contains nothing.
        self.commit(read_to)
    }

    /// Ends writing, and waits for the merges in progress.
    pub(super) fn close(self) {
        // Merging threads outlive the writer, and the caller may delete the folder after closing.
        if let Err(error) = self.index.wait_merging_threads() {
            tracing::warn!(%error, "merging the search index failed; nothing is lost");
        }
    }

    /// Writes the document of an item, in place of the one that it has. Both become visible with the same commit.
    fn replace(&mut self, item: &Item, said: Said, operations: &mut Vec<UserOperation<TantivyDocument>>) {
        let (number, fields) = (item.id.0, self.reader.fields());
        self.late.remove(number);
        let before = operations.len();
        // Without deletions, new items and whole indexes are written much faster.
        if self.held.remove(number) {
            operations.push(UserOperation::Delete(fields.item_term(number)));
        }
        if item.is_listed() {
            self.held.insert(number);
            operations.push(UserOperation::Add(fields.document(item, said, self.reader.wording())));
        }
        self.uncommitted += operations.len() - before;
        if !self.is_new {
            self.written.insert(number, item.is_listed().then_some(said));
        }
    }

    fn run(&self, operations: Vec<UserOperation<TantivyDocument>>) -> Result<(), SearchError> {
        let batch = if self.uncommitted <= TOGETHER { operations.len() } else { BATCH };
        let mut operations = operations.into_iter();
        while operations.len() > 0 {
            self.index.run(operations.by_ref().take(batch).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Returns what the document of an item says; `None` if it has none, or if that is not known.
    fn says(&mut self, item: ItemId) -> tantivy::Result<Option<Said>> {
        // Most new items end here.
        if self.is_new || !self.held.contains(item.0) {
            return Ok(None);
        }
        if let Some(said) = self.written.get(&item.0) {
            return Ok(*said);
        }
        let committed = match &mut self.committed {
            Some(committed) => committed,
            none => none.insert(Committed::open(&self.reader)?),
        };
        committed.says(item, self.reader.fields())
    }
}

#[cfg(test)]
mod tests;
