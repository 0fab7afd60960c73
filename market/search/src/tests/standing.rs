//! Standing queries against the index: an item must match exactly what finds it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, sample::select};
use souk_domain::{Description, ItemName, Timestamp};

use super::*;
use crate::{Conditions, ItemTerms, PriceRange, StandingQueries};

const WORDS: [&str; 14] = [
    "lamp",
    "Lampe",
    "LAMPSHADE",
    "la",
    "l",
    "crème",
    "creme",
    "t-light",
    "light",
    "84029",
    "840",
    "desk",
    "ß",
    "καφές",
];
const CATEGORIES: [&str; 4] = ["home", "home/light", "home/lights", "garden"];

fn phrase(least: usize, most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(select(&WORDS[..]), least..=most).prop_map(|words| words.join(" "))
}

fn any_item(number: i64) -> impl Strategy<Value = Item> {
    let texts = (phrase(1, 3), phrase(0, 3), select(&CATEGORIES[..]));
    let numbers = (100..103_i64, select(&["GBP", "EUR"][..]), 0..2_i64, 0..3_i64, 1..=5_i64, 0..3_u128);
    (texts, numbers, prop::bool::weighted(0.1)).prop_map(move |(texts, numbers, is_deleted)| {
        let ((name, description, path), (amount, currency, quantity, ratings, stars, seller)) =
            (texts, numbers);
        Item {
            name: ItemName::trusted(name),
            description: Description::trusted(description),
            category: category(path),
            unit_price: Money::price(amount, currency).unwrap(),
            quantity,
            rating: rated(ratings, ratings * stars),
            seller: PartyId(Uuid::from_u128(seller)),
            deleted_at: is_deleted.then_some(Timestamp(1)),
            ..item(number, "")
        }
    })
}

fn any_query() -> impl Strategy<Value = SearchQuery> {
    let price = prop::option::of((100..103_i64, select(&["GBP", "EUR"][..])));
    let filters = (
        prop::option::of(select(&CATEGORIES[..])),
        (price, 0..2_i64),
        prop::option::of(select(&[1.0, 2.0, 2.5, 5.0][..])),
        prop::option::of(0..3_u128),
        any::<bool>(),
    );
    (phrase(0, 3), filters).prop_map(|(words, (path, (min, span), min_rating, seller, in_stock))| {
        let price = |amount, currency| Money::price(amount, currency).unwrap();
        let ends = min.map(|(amount, currency)| (price(amount, currency), price(amount + span, currency)));
        SearchQuery {
            text: text(&words),
            category: path.map(category),
            price: PriceRange::parse(ends.map(|ends| ends.0), ends.map(|ends| ends.1)).unwrap(),
            min_rating,
            seller: seller.map(|seller| PartyId(Uuid::from_u128(seller))),
            in_stock,
            is_exact: true,
            ..SearchQuery::default()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_item_matches_the_queries_that_find_it(
        items in (1..24_i64).prop_flat_map(|count| (1..=count).map(any_item).collect::<Vec<_>>()),
        queries in prop::collection::vec(any_query(), 1..40),
        removed in prop::collection::vec(any_query(), 0..10),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let market = Market::in_memory().await;
            let (wording, mut standing) = (market.search.wording(), StandingQueries::default());
            for (key, query) in removed.iter().enumerate() {
                standing.insert(1_000 + key, Conditions::of(query, &wording));
            }
            for (key, query) in queries.iter().enumerate() {
                standing.insert(key, Conditions::of(query, &wording));
            }
            for key in 0..removed.len() {
                standing.remove(1_000 + key);
            }
            let mut matched: BTreeMap<usize, BTreeSet<i64>> = BTreeMap::new();
            for item in &items {
                for key in standing.matching(item, &ItemTerms::of(item, &wording)) {
                    assert!(matched.entry(key).or_default().insert(item.id.0), "each query once");
                }
                market.put(item.clone());
            }
            for (key, query) in queries.iter().enumerate() {
                let found: BTreeSet<i64> = market.found(query).await.into_iter().collect();
                assert_eq!(matched.remove(&key).unwrap_or_default(), found, "{query:?}");
            }
            assert!(matched.is_empty(), "queries that were removed: {matched:?}");
        });
    }
}
