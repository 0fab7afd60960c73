//! Standing queries against asking each of them.

use std::collections::BTreeMap;

use proptest::{prelude::*, sample::select};
use souk_domain::{Category, Description, ItemName, Money, PartyId, Timestamp};
use uuid::Uuid;

use super::{conditions::Asked, *};
use crate::{PriceRange, SearchQuery, SearchText, Wording, tests::item};

fn query(words: &str) -> SearchQuery {
    SearchQuery { text: SearchText::parse(words).unwrap(), ..SearchQuery::default() }
}

fn named(number: i64, name: &str) -> Item {
    Item { name: ItemName::trusted(name.to_owned()), ..item(number, "") }
}

fn seller(number: u128) -> PartyId {
    PartyId(Uuid::from_u128(number))
}

impl StandingQueries<usize> {
    fn of<'a>(queries: impl IntoIterator<Item = &'a SearchQuery>) -> Self {
        let mut standing = Self::default();
        for (key, query) in queries.into_iter().enumerate() {
            standing.insert(key, Conditions::of(query, &Wording::default()));
        }
        standing
    }

    /// Returns the queries that an item matches, and how many were compared with it.
    fn found(&mut self, item: &Item) -> (Vec<usize>, u64) {
        let before = self.compared();
        let matching = self.matching(item, &ItemTerms::of(item, &Wording::default()));
        (matching, self.compared() - before)
    }
}

impl Conditions {
    /// Returns whether an item meets all conditions. The terms are the item's.
    fn hold_for(&self, item: &Item, terms: &ItemTerms) -> bool {
        item.is_listed() && self.missing(item, terms).is_none()
    }
}

/// Ten thousand watchers, each of which looks for something else among lamps.
#[test]
fn changed_item_is_compared_with_few_of_many_queries() {
    let queries: Vec<_> = (0..10_000).map(|number| query(&format!("lamp model{number} brass"))).collect();
    let mut standing = StandingQueries::of(&queries);
    assert_eq!(standing.found(&named(1, "Brass lamp model77")), (vec![77], 1));
    assert_eq!(standing.found(&named(1, "Brass lamp")), (vec![], 0));
}

/// The word that looked rare is in every item.
#[test]
fn query_is_filed_anew_under_the_word_that_turns_out_to_be_rare() {
    let queries: Vec<_> = (0..10_000).map(|number| query(&format!("handmade m{number} brass"))).collect();
    let mut standing = StandingQueries::of(&queries);
    let compared: Vec<u64> =
        (0..40).map(|number| standing.found(&named(number, "Handmade brass lamp")).1).collect();
    assert_eq!(compared[0], 10_000, "it is the longest word");
    assert_eq!(compared[20..], [0; 20], "{compared:?}");
    assert_eq!(standing.found(&named(1, "Handmade brass lamp m77")), (vec![77], 1));
    let later: Vec<_> = (0..100)
        .map(|number| Conditions::of(&query(&format!("handmade n{number} brass")), &Wording::default()))
        .collect();
    for (key, conditions) in later.into_iter().enumerate() {
        standing.insert(20_000 + key, conditions);
    }
    assert_eq!(standing.found(&named(1, "Handmade brass lamp")).1, 0, "it is known by now");
}

#[test]
fn queries_without_words_are_found_by_seller_or_category() {
    let of_sellers = (0..1_000).map(|number| SearchQuery { seller: Some(seller(number)), ..query("") });
    let of_categories = (0..1_000).map(|number| {
        let category = Some(Category::parse(&format!("home/c{number}")).unwrap());
        SearchQuery { category, ..query("") }
    });
    let mut standing = StandingQueries::of(&of_sellers.chain(of_categories).collect::<Vec<_>>());
    let category = Category::parse("home/c7/small").unwrap();
    let item = Item { seller: seller(5), category, ..named(1, "Lamp") };
    assert_eq!(standing.found(&item), (vec![5, 1_007], 2));
}

#[test]
fn removed_queries_leave_nothing() {
    let queries: Vec<_> = ["lamp", "red lamp", "la", ""].map(query).into();
    let mut standing = StandingQueries::of(&queries);
    standing.found(&named(1, "Red lamp"));
    for key in 0..queries.len() {
        standing.remove(key);
    }
    assert_eq!(standing.found(&named(1, "Red lamp")), (vec![], 0));
    assert!(standing.files.is_empty() && standing.unfiled.is_empty());
}

const WORDS: [&str; 9] = ["a", "al", "alp", "alps", "red", "reds", "common", "lamp", "lampe"];
const CATEGORIES: [&str; 4] = ["home", "home/light", "home/lights", "garden"];

#[derive(Clone, Debug)]
enum Step {
    Insert(Conditions),
    Remove(usize),
    Change(Item),
}

/// Words of which some are far more frequent than others.
fn phrase(most: usize) -> impl Strategy<Value = String> {
    let word = prop_oneof![3 => Just("common"), 2 => Just("lamp"), 5 => select(&WORDS[..])];
    prop::collection::vec(word, 0..=most).prop_map(|words| words.join(" "))
}

fn any_query() -> impl Strategy<Value = SearchQuery> {
    let filters = (
        prop::option::weighted(0.2, select(&CATEGORIES[..])),
        prop::option::weighted(0.2, 0..3_u128),
        prop::option::weighted(0.2, 100..103_i64),
        prop::bool::weighted(0.2),
    );
    (phrase(3), filters).prop_map(|(words, (path, number, most, in_stock))| SearchQuery {
        category: path.map(|path| Category::parse(path).unwrap()),
        seller: number.map(seller),
        price: PriceRange::parse(None, most.map(|most| Money::price(most, "GBP").unwrap())).unwrap(),
        in_stock,
        ..query(&words)
    })
}

/// Words that an item can have in several ways, some of which take several terms.
fn any_asked() -> impl Strategy<Value = Asked> {
    let term = || select(&WORDS[..]).prop_map(str::to_owned);
    let ways = prop::collection::vec(prop::collection::vec(term(), 1..3), 0..3);
    (ways, prop::option::of(term())).prop_filter_map("a word", |(ways, beginning)| {
        let is_word = !ways.is_empty() || beginning.is_some();
        is_word.then_some(Asked { ways, beginning })
    })
}

fn any_conditions() -> impl Strategy<Value = Conditions> {
    let asked = prop::option::of(prop::collection::vec(any_asked(), 0..3));
    (any_query(), asked).prop_map(|(query, asked)| {
        let typed = Conditions::of(&query, &Wording::default());
        Conditions { words: asked.unwrap_or(typed.words), ..typed }
    })
}

fn any_item() -> impl Strategy<Value = Item> {
    let texts = (phrase(4), phrase(3), select(&CATEGORIES[..]));
    (texts, 0..3_u128, 100..103_i64, 0..2_i64, prop::bool::weighted(0.05)).prop_map(
        |((name, description, path), number, price, quantity, is_deleted)| Item {
            description: Description::trusted(description),
            category: Category::parse(path).unwrap(),
            seller: seller(number),
            unit_price: Money::price(price, "GBP").unwrap(),
            quantity,
            deleted_at: is_deleted.then_some(Timestamp(1)),
            ..named(1, &name)
        },
    )
}

proptest! {
    #[test]
    fn each_item_finds_the_queries_that_would_find_it(
        steps in prop::collection::vec(
            prop_oneof![
                3 => any_conditions().prop_map(Step::Insert),
                1 => any::<prop::sample::Index>().prop_map(|index| Step::Remove(index.index(64))),
                6 => any_item().prop_map(Step::Change),
            ],
            1..200,
        ),
    ) {
        let (mut standing, mut asked) = (StandingQueries::default(), BTreeMap::new());
        for (key, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert(conditions) => {
                    asked.insert(key, conditions.clone());
                    standing.insert(key, conditions);
                }
                Step::Remove(place) => {
                    if let Some(key) = asked.keys().nth(place).copied() {
                        asked.remove(&key);
                        standing.remove(key);
                    }
                }
                Step::Change(item) => {
                    let terms = ItemTerms::of(&item, &Wording::default());
                    let expected = asked.iter().filter(|(_, query)| query.hold_for(&item, &terms));
                    let expected: Vec<usize> = expected.map(|(key, _)| *key).collect();
                    prop_assert_eq!(standing.matching(&item, &terms), expected, "{:?}", item);
                }
            }
        }
        for key in asked.into_keys() {
            standing.remove(key);
        }
        prop_assert!(standing.files.is_empty(), "{:?}", standing);
    }
}
