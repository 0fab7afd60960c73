//! The results of watched searches, without a store.

use souk_domain::{
    Category, Description, DisplayName, Item, ItemId, ItemName, Money, PartyId, RankClass, RatingSummary,
    SalesLevel, Timestamp,
};
use souk_search::{Conditions, ItemTerms, SearchQuery, SearchText, Wording};
use uuid::Uuid;

use super::{
    Difference, End, MAX_WATCHES, MAX_WATCHES_OF_PARTY,
    groups::{GroupId, Groups, MAX_RESULT},
};

fn item(number: i64, name: &str, version: i64) -> Item {
    Item {
        id: ItemId(number),
        seller: party(9),
        seller_name: DisplayName::trusted("Shop".to_owned()),
        sku: None,
        name: ItemName::trusted(name.to_owned()),
        description: Description::trusted(String::new()),
        category: Category::trusted("home".to_owned()),
        unit_price: Money::price(100, "GBP").unwrap(),
        quantity: 1,
        supplied: 1,
        sold: 0,
        withdrawn: 0,
        rating: RatingSummary::default(),
        sales_level: SalesLevel::default(),
        rank_class: RankClass::default(),
        version,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
        deleted_at: None,
    }
}

fn party(number: u128) -> PartyId {
    PartyId(Uuid::from_u128(number))
}

fn query(text: &str) -> Conditions {
    let query = SearchQuery { text: SearchText::parse(text).unwrap(), ..SearchQuery::default() };
    Conditions::of(&query, &Wording::default())
}

fn evaluate(groups: &mut Groups, item: Item) {
    groups.evaluate(&item, Some(&ItemTerms::of(&item, &Wording::default())));
}

fn ids(numbers: &[i64]) -> Vec<ItemId> {
    numbers.iter().copied().map(ItemId).collect()
}

/// Returns the difference after a change, for a watcher that knows these items.
fn difference(groups: &Groups, id: GroupId, after: u64, known: &[i64]) -> Difference {
    groups.difference(id, after, ids(known).into_iter(), 10).unwrap()
}

fn expected(changed: &[i64], gone: &[i64], change: u64) -> Difference {
    Difference { changed: ids(changed), gone: ids(gone), change, more: false }
}

#[test]
fn watchers_of_one_query_share_its_result() {
    let mut groups = Groups::default();
    let (lamp, mut of_alice) = groups.join(party(1), query("lamp")).unwrap();
    let (same, of_bob) = groups.join(party(2), query("LAMP")).unwrap();
    let (chair, of_carol) = groups.join(party(3), query("chair")).unwrap();
    assert_eq!((same, groups.len()), (lamp, 2));
    evaluate(&mut groups, item(1, "Lamp", 1));
    assert!(of_alice.has_changed().unwrap() && of_bob.has_changed().unwrap());
    assert!(!of_carol.has_changed().unwrap(), "only those whose result has changed are woken");
    assert_eq!(difference(&groups, lamp, 0, &[]), expected(&[1], &[], 1));

    of_alice.mark_unchanged();
    evaluate(&mut groups, item(1, "Lamp", 1));
    assert!(!of_alice.has_changed().unwrap(), "it was compared before");
    evaluate(&mut groups, item(1, "Chair", 2));
    assert_eq!(difference(&groups, lamp, 1, &[1]), expected(&[], &[1], 1));
    groups.evaluate(&item(1, "Chair", 2), None);
    assert_eq!(difference(&groups, chair, 0, &[1]), expected(&[], &[1], 0), "its seller is suspended");

    for party in [1, 2].map(party) {
        groups.leave(party, lamp);
    }
    groups.leave(party(3), chair);
    assert!(groups.is_empty() && !groups.contains(ItemId(1)));
}

#[test]
fn changes_come_in_pages_and_in_order() {
    let mut groups = Groups::default();
    let (all, _news) = groups.join(party(1), query("")).unwrap();
    for number in [3, 1, 2] {
        evaluate(&mut groups, item(number, "Lamp", 1));
    }
    let first = groups.difference(all, 0, std::iter::empty(), 2).unwrap();
    assert_eq!((&first.changed, first.more), (&ids(&[3, 1]), true));
    let rest = groups.difference(all, first.change, std::iter::empty(), 2).unwrap();
    assert_eq!((&rest.changed, rest.more), (&ids(&[2]), false));
    assert_eq!(groups.items_after(ItemId(2), 10), ids(&[3, 1, 2]));
}

#[test]
fn result_is_bounded_and_its_end_concerns_nobody_else() {
    let mut groups = Groups::default();
    let (all, news) = groups.join(party(1), query("")).unwrap();
    let (lamp, _news) = groups.join(party(2), query("lamp")).unwrap();
    let many = i64::try_from(MAX_RESULT).unwrap();
    evaluate(&mut groups, item(0, "Lamp", 1));
    for number in 1..=many {
        evaluate(&mut groups, item(number, "Chair", 1));
    }
    assert!(news.has_changed().unwrap());
    assert_eq!(groups.difference(all, 0, std::iter::empty(), 10), Err(End::TooManyMatches));
    assert_eq!(groups.difference(lamp, 0, std::iter::empty(), 10).unwrap().changed, ids(&[0]));
    assert!(groups.contains(ItemId(0)) && !groups.contains(ItemId(1)), "it is forgotten");
    let (again, _news) = groups.join(party(1), query("")).unwrap();
    assert_ne!(again, all, "a new watch gets a new group");
    groups.leave(party(1), all);
}

#[test]
fn party_watches_only_so_much() {
    let mut groups = Groups::default();
    for _ in 0..MAX_WATCHES_OF_PARTY {
        groups.join(party(1), query("lamp")).unwrap();
    }
    assert!(groups.join(party(1), query("lamp")).is_none());
    let (lamp, _news) = groups.join(party(2), query("lamp")).unwrap();
    groups.leave(party(1), lamp);
    assert!(groups.join(party(1), query("lamp")).is_some());
}

/// A commit waits for the lock under which an item is compared.
#[test]
fn changed_item_is_compared_with_few_of_the_queries() {
    let mut groups = Groups::default();
    let mut joined = Vec::new();
    for number in 0..MAX_WATCHES {
        let watcher = party(number as u128);
        joined.push((watcher, groups.join(watcher, query(&format!("brass lamp model{number}"))).unwrap().0));
    }
    assert_eq!(groups.len(), MAX_WATCHES);
    for number in 0..100 {
        evaluate(&mut groups, item(number, "Brass lamp", 1));
    }
    let warmed_up = groups.compared();
    for number in 100..1_100 {
        evaluate(&mut groups, item(number, &format!("Brass lamp model{number}"), 1));
    }
    let compared = groups.compared() - warmed_up;
    assert!(compared <= 20_000, "{compared} comparisons for 1,000 items");
    for (watcher, group) in joined {
        groups.leave(watcher, group);
    }
    assert!(groups.is_empty());
}
