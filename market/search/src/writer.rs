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
        // What the documents don't say yet is read again after a crash.
        let complete = self.late.complete().map_or(read_to, |late| late.min(read_to));
        home::commit(&mut self.index, Extent { complete, latest: self.latest }, self.reader.wording())?;
        self.reader.reload(&self.late.states())?;
        self.written.clear();
        (self.committed, self.uncommitted, self.is_new) = (None, 0, false);
        Ok(())
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
mod tests {
    use souk_domain::{Quantity, RankClass, RatingSummary, SalesLevel, Timestamp};

    use super::*;
    use crate::{
        IndexHome, Wording,
        late::{LATE_AFTER, MAX_LATE},
        states::State,
        tests::{item, named},
    };

    fn writer(home: &IndexHome) -> Writer {
        let opened = home.open(&Wording::default()).unwrap();
        Writer::new(opened.writer, Arc::new(opened.reader), opened.extent, MAX_LATE).unwrap()
    }

    fn entry(position: i64, item: Item) -> FeedEntry {
        FeedEntry { position: FeedPosition(position), item }
    }

    fn sold_out(number: i64) -> Item {
        Item { quantity: 0, ..item(number, "Lamp") }
    }

    /// Returns the position up to which the index is complete, as after a crash.
    fn committed(writer: &Writer) -> i64 {
        home::position(writer.index.index()).unwrap().0
    }

    fn lamps(count: i64) -> Vec<FeedEntry> {
        (1..=count).map(|number| entry(number, item(number, "Lamp"))).collect()
    }

    #[test]
    fn purchases_and_ratings_do_not_index_the_item_again() {
        let mut writer = writer(&IndexHome::Memory);
        writer.write(&lamps(3)).unwrap();
        writer.commit(FeedPosition(3)).unwrap();
        let rated = Item { rating: RatingSummary { count: 2, total_stars: 9 }, ..item(2, "Lamp") };
        writer.write(&[entry(4, sold_out(1)), entry(5, rated.clone())]).unwrap();
        assert!(!writer.is_dirty());
        let states = (writer.reader.state(1), writer.reader.state(2));
        assert_eq!(states, (State::of(&sold_out(1)), State::of(&rated)));
        assert_eq!(writer.late(), [ItemId(1), ItemId(2)]);
        // Back in stock, as the document says it.
        writer.write(&[entry(6, item(1, "Lamp"))]).unwrap();
        assert_eq!((writer.late(), writer.is_dirty()), (vec![ItemId(2)], false));
        assert_eq!(writer.reader.state(1), State::of(&item(1, "Lamp")));
        // What is indexed again is not late any more.
        writer.write(&[entry(7, Item { name: named("Lantern"), ..rated })]).unwrap();
        assert_eq!((writer.late(), writer.is_dirty()), (Vec::new(), true));
    }

    #[test]
    fn item_with_another_class_is_indexed_again_late() {
        let mut writer = writer(&IndexHome::Memory);
        writer.write(&lamps(2)).unwrap();
        writer.commit(FeedPosition(2)).unwrap();
        let rank_class = RankClass::of(RatingSummary { count: 100, total_stars: 500 }, SalesLevel::default());
        let better = Item { rank_class, ..item(1, "Lamp") };
        writer.write(&[entry(3, better.clone())]).unwrap();
        assert_eq!((writer.late(), writer.is_dirty()), (vec![ItemId(1)], false));
        // Its class may have changed again in the store.
        writer.write_late(&[item(1, "Lamp")]).unwrap();
        writer.commit(FeedPosition(3)).unwrap();
        assert_eq!(writer.says(ItemId(1)).unwrap().unwrap().state, State::of(&better));
        assert_eq!(writer.late(), []);
    }

    /// A merge may put late documents into a segment that searches have not seen before.
    #[test]
    fn commits_keep_the_states_of_items_whose_documents_are_late() {
        let mut writer = writer(&IndexHome::Memory);
        writer.write(&lamps(3)).unwrap();
        writer.commit(FeedPosition(3)).unwrap();
        writer.write(&[entry(4, sold_out(1))]).unwrap();
        writer.write(&[entry(5, item(2, "Lantern")), entry(6, item(4, "Lamp"))]).unwrap();
        assert_eq!(writer.reader.state(1), State::of(&sold_out(1)));
        writer.commit(FeedPosition(6)).unwrap();
        assert_eq!(writer.reader.state(1), State::of(&sold_out(1)));
        // Written, and changed again before the commit.
        writer.write(&[entry(7, item(3, "Lantern"))]).unwrap();
        writer.write(&[entry(8, Item { name: named("Lantern"), ..sold_out(3) })]).unwrap();
        writer.commit(FeedPosition(8)).unwrap();
        assert_eq!(writer.reader.state(3), State::of(&sold_out(3)));
    }

    #[test]
    fn late_documents_are_read_again_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let home = IndexHome::Directory(folder.path().to_owned());
        let mut before = writer(&home);
        before.write(&lamps(3)).unwrap();
        before.commit(FeedPosition(3)).unwrap();
        before.write(&[entry(4, sold_out(1)), entry(5, item(2, "Lantern")), entry(6, sold_out(3))]).unwrap();
        before.commit(FeedPosition(6)).unwrap();
        assert_eq!(committed(&before), 3);
        drop(before);
        let mut after = writer(&home);
        assert_eq!(after.reader.state(1), State::of(&item(1, "Lamp")), "what its document says");
        after.write(&[entry(4, sold_out(1)), entry(5, item(2, "Lantern")), entry(6, sold_out(3))]).unwrap();
        assert!(!after.is_dirty(), "the second item is as it was committed");
        assert!(after.late_due().is_some_and(|due| due > Instant::now()));
        after.write_late(&[sold_out(1), sold_out(3)]).unwrap();
        after.commit(FeedPosition(6)).unwrap();
        assert_eq!((committed(&after), after.late_due()), (6, None));
        drop(after);
        assert_eq!(writer(&home).reader.state(1), State::of(&sold_out(1)));
    }

    #[test]
    fn late_documents_have_a_deadline_and_a_bound() {
        let mut late = writer(&IndexHome::Memory);
        late.write(&lamps(1)).unwrap();
        late.commit(FeedPosition(1)).unwrap();
        assert_eq!(late.late_due(), None);
        let begun = Instant::now();
        late.write(&[entry(2, sold_out(1))]).unwrap();
        let due = late.late_due().unwrap();
        assert!(due >= begun + LATE_AFTER && due <= Instant::now() + LATE_AFTER);
        for number in 2..=MAX_LATE as i64 {
            late.late.insert(number, FeedPosition(number), Said::of(&item(number, "Lamp")));
        }
        assert!(late.late_due().unwrap() <= Instant::now());
        late.late.remove(1);
        late.late.insert(0, FeedPosition(1), Said::of(&item(0, "Lamp")));
        late.write(&[entry(2, Item { quantity: 9, ..item(1, "Lamp") }), entry(3, sold_out(1))]).unwrap();
        assert!(late.is_dirty() && late.late().len() == MAX_LATE, "indexed instead");
    }

    /// What is read from the store may be newer than the feed was when it was read, and may be lost by a failover.
    #[test]
    fn late_documents_hold_nothing_that_was_not_in_the_feed() {
        let mut late = writer(&IndexHome::Memory);
        late.write(&lamps(2)).unwrap();
        late.commit(FeedPosition(2)).unwrap();
        late.write(&[entry(3, sold_out(1)), entry(4, sold_out(2))]).unwrap();
        late.write_late(&[item(1, "Lamp"), item(2, "Lantern")]).unwrap();
        let said = late.says(ItemId(1)).unwrap().unwrap();
        assert_eq!(said, Said::of(&sold_out(1)), "restocked only later");
        assert_eq!(late.late(), [ItemId(2)], "renamed only later");
        assert!(late.late_due().unwrap() > Instant::now(), "not tried at once again");
        assert_eq!(late.reader.state(1), State::of(&sold_out(1)));
    }

    /// While the index is built, items move in the feed and come again.
    #[test]
    fn item_that_changes_while_the_index_is_built_is_in_it_once() {
        let mut new = writer(&IndexHome::Memory);
        new.write(&lamps(4)).unwrap();
        let deleted = Item { deleted_at: Some(Timestamp(1)), ..item(2, "Lamp") };
        new.write(&[entry(5, item(1, "Lantern")), entry(6, deleted), entry(7, sold_out(3))]).unwrap();
        assert!(!new.is_full());
        new.commit(FeedPosition(7)).unwrap();
        assert_eq!(new.reader.searcher().num_docs(), 3);
        assert_eq!(new.reader.state(3), State::of(&sold_out(3)));
    }

    #[test]
    fn index_is_built_by_one_commit_and_without_deletions() {
        let mut new = writer(&IndexHome::Memory);
        for page in lamps(COMMIT_EVERY as i64 + 1).chunks(5_000) {
            new.write(page).unwrap();
            assert!(!new.is_full());
        }
        new.commit(FeedPosition(1)).unwrap();
        let segments = new.reader.searcher();
        assert!(segments.segment_readers().iter().all(|segment| !segment.has_deletes()));
        assert!(segments.segment_readers().len() <= 2, "one for each thread");
        // A small commit makes one segment.
        let one = Quantity::parse(1).unwrap().units();
        let dearer = (1..=100).map(|number| Item { supplied: one, ..item(number, "Lantern") });
        new.write(&dearer.map(|item| entry(item.id.0 + 100_000, item)).collect::<Vec<_>>()).unwrap();
        new.commit(FeedPosition(100_100)).unwrap();
        assert!(new.reader.searcher().segment_readers().len() <= 3);
    }
}
