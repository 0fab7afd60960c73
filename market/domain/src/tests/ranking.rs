//! Rank classes: what changes them.

use super::*;

fn rank(item: ItemId, units: i64) -> Action {
    Action::Rank(action::Rank(vec![(item, SalesLevel::of(units))]))
}

/// The market's own commands have no party.
const MARKET: u128 = 0;

impl Fixture {
    fn class(&self, item: ItemId) -> u8 {
        self.item(item).rank_class.get()
    }

    /// Ranks an item by its sales, and returns the number of items whose class was changed.
    fn ranked(&mut self, item: ItemId, units: i64) -> i64 {
        match self.act(MARKET, rank(item, units)).unwrap() {
            Outcome::Ranked(count) => count,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn class_follows_ratings_and_sweeps_and_no_purchase() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 100);
    assert_eq!(fixture.class(lamp), RankClass::default().get());
    let order = order_of(fixture.act(BOB, buy(lamp, 50)));
    assert_eq!(fixture.class(lamp), 7, "a purchase does not compute it");
    assert_eq!(fixture.ranked(lamp, 50), 1);
    assert_eq!(fixture.class(lamp), 15 + 22, "3.8 stars and 2^5.6 units");
    fixture.act(BOB, rate(lamp, 1)).unwrap();
    assert_eq!(fixture.class(lamp), 13 + 22);
    fixture.act(BOB, Action::Cancel(action::Cancel { order: order.id })).unwrap();
    assert_eq!(fixture.class(lamp), 15 + 22, "the rating was withdrawn");
    assert_eq!(fixture.ranked(lamp, 0), 1);
    assert_eq!(fixture.class(lamp), 7);
}

#[test]
fn changed_class_moves_the_item_in_the_feed_and_keeps_its_version() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 100);
    let before = fixture.item(lamp).clone();
    fixture.rows.search_changes.clear();
    assert_eq!(fixture.ranked(lamp, 3), 1);
    assert!(fixture.rows.search_changes.contains(&lamp));
    let after = fixture.item(lamp);
    assert_eq!((after.version, after.updated_at), (before.version, before.updated_at));
    assert!(before.search_differs(after));
    let entry = fixture.rows.audit.last().unwrap();
    assert_eq!((entry.who.as_str(), entry.did, entry.what.as_str()), ("party", "RankItems", "1 items"));
}

#[test]
fn repeated_ranking_leaves_no_trace() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 100);
    let gone = fixture.lamp(ALICE, 1);
    fixture.act(ALICE, Action::Delete(action::Delete { item: gone, expected_version: None })).unwrap();
    fixture.ranked(lamp, 3);
    let (before, audited) = (trace(&fixture.rows), fixture.rows.audit.len());
    fixture.rows.search_changes.clear();
    assert_eq!(fixture.ranked(lamp, 3), 0);
    assert_eq!(fixture.ranked(gone, 3), 0, "a deleted item is found by no search");
    assert_eq!(fixture.ranked(ItemId(77), 3), 0, "an item that does not exist");
    fixture.validate(MARKET, rank(lamp, 9)).unwrap();
    assert_eq!((trace(&fixture.rows), fixture.rows.audit.len()), (before, audited));
    assert!(fixture.rows.search_changes.is_empty());
}
