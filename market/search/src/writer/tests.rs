//! Tests of writing the index.

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

/// Returns the number of segments, once the merges are done.
fn segments(home: &IndexHome, writer: Writer) -> usize {
    writer.close();
    home.open(&Wording::default()).unwrap().reader.searcher().segment_readers().len()
}

#[test]
fn segments_of_an_import_are_merged_after_it() {
    for is_over in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let home = IndexHome::Directory(folder.path().to_owned());
        let mut writer = writer(&home);
        let lamps = lamps(5 * LARGE_COMMIT as i64 + 1);
        writer.write(&lamps[..1]).unwrap();
        writer.commit(FeedPosition(1)).unwrap();
        assert_eq!(writer.merge_due(), None, "the index was built, not imported");
        for some in lamps[1..].chunks(LARGE_COMMIT) {
            writer.write(some).unwrap();
            writer.commit(some.last().unwrap().position).unwrap();
        }
        assert!(writer.merge_due().is_some());
        if is_over {
            writer.merge(FeedPosition(lamps.len() as i64)).unwrap();
            assert_eq!(writer.merge_due(), None);
        }
        let left = segments(&home, writer);
        assert!(if is_over { left <= 2 } else { left == 6 }, "{left} segments");
    }
}
