//! The index finds what a plain loop over all items finds, in the same order, for any history of changes.

use std::{collections::BTreeMap, sync::Arc};

use proptest::{prelude::*, sample::select};
use souk_domain::{Description, ItemName, RankClass, SalesLevel, Sku, Timestamp};

use super::*;
use crate::{PriceRange, tests::plain};

const WORDS: [&str; 12] = [
    "lamp",
    "lamps",
    "camp",
    "lampshade",
    "Red",
    "rod",
    "strawberry",
    "strawberries",
    "84029",
    "Crème",
    "la",
    "oil",
];
/// Words that are asked for. Some are typos, and some are beginnings.
const ASKED: [&str; 14] = [
    "lamp",
    "lmap",
    "red",
    "re",
    "r",
    "strawbery",
    "strwbery",
    "84029",
    "840",
    "creme",
    "la",
    "oil",
    "lampshaed",
    "sofa",
];
const CATEGORIES: [&str; 4] = ["home", "home/light", "home-x", "garden"];
const SELLERS: u128 = 3;
const ITEMS: i64 = 30;

#[derive(Clone, Debug)]
enum Step {
    Put(Box<Item>),
    Delete(i64),
    /// Sells the item out or supplies it, and rates it.
    Trade(i64, i64, i64),
    /// Searches, so that what came before is a commit of its own.
    Commit,
}

fn phrase(least: usize, most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(select(&WORDS[..]), least..=most).prop_map(|words| words.join(" "))
}

fn any_item() -> impl Strategy<Value = Item> {
    let texts =
        (phrase(1, 3), phrase(0, 3), prop::option::weighted(0.2, phrase(1, 2)), select(&CATEGORIES[..]));
    let numbers = (1..=ITEMS, 100..104_i64, select(&["GBP", "EUR"][..]), 0..2_i64, 0..40_i64, 1..=5_i64);
    (texts, numbers, 0..SELLERS).prop_map(|(texts, numbers, seller)| {
        let ((name, description, sku, path), (number, amount, currency, quantity, ratings, stars)) =
            (texts, numbers);
        let ratings = (ratings - 20).max(0);
        Item {
            name: ItemName::trusted(name),
            description: Description::trusted(description),
            sku: sku.map(Sku::trusted),
            category: category(path),
            unit_price: Money::price(amount, currency).unwrap(),
            quantity,
            rating: rated(ratings, ratings * stars),
            seller: PartyId(Uuid::from_u128(seller)),
            ..item(number, "")
        }
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any_item().prop_map(|item| Step::Put(Box::new(item))),
        1 => (1..=ITEMS).prop_map(Step::Delete),
        4 => (1..=ITEMS, 0..2_i64, 0..=5_i64).prop_map(|(item, quantity, stars)| Step::Trade(item, quantity, stars)),
        2 => Just(Step::Commit),
    ]
}

fn any_query() -> impl Strategy<Value = SearchQuery> {
    let words = prop::collection::vec(select(&ASKED[..]), 0..4).prop_map(|words| words.join(" "));
    let price = prop::option::weighted(0.3, (100..104_i64, select(&["GBP", "EUR"][..]), 0..3_i64));
    let filters = (
        prop::option::weighted(0.3, select(&CATEGORIES[..])),
        price,
        prop::option::weighted(0.2, select(&[1.0, 2.5, 5.0][..])),
        prop::option::weighted(0.2, 0..SELLERS),
        prop::bool::weighted(0.2),
    );
    let hidden = prop::collection::hash_set(0..SELLERS, 0..3);
    (words, filters, hidden, prop::bool::weighted(0.3)).prop_map(|(words, filters, hidden, is_exact)| {
        let (path, price, min_rating, seller, in_stock) = filters;
        let ends = price.map(|(least, currency, span)| {
            let price = |amount| Money::price(amount, currency).unwrap();
            // One end may be open.
            ((span > 0).then(|| price(least)), price(least + span))
        });
        let (min, max) = ends.map_or((None, None), |(min, max)| (min, Some(max)));
        let party = |number| PartyId(Uuid::from_u128(number));
        SearchQuery {
            text: text(&words),
            category: path.map(category),
            price: PriceRange::parse(min, max).unwrap(),
            min_rating,
            seller: seller.map(party),
            hidden_sellers: Arc::new(hidden.into_iter().map(party).collect()),
            in_stock,
            is_exact,
            ..SearchQuery::default()
        }
    })
}

/// The items that are listed, by number.
type Listed = BTreeMap<i64, Item>;

async fn replay(market: &Market, listed: &mut Listed, steps: &[Step]) {
    for step in steps {
        match step {
            Step::Put(item) => {
                listed.insert(item.id.0, Item::clone(item));
                market.put(Item::clone(item));
            }
            Step::Delete(number) => {
                if let Some(item) = listed.remove(number) {
                    market.put(Item { deleted_at: Some(Timestamp(1)), ..item });
                }
            }
            Step::Trade(number, quantity, stars) => {
                if let Some(item) = listed.get_mut(number) {
                    item.quantity = *quantity;
                    item.rating = rated(10 * stars.signum(), 10 * stars);
                    item.rank_class = RankClass::of(item.rating, SalesLevel::default());
                    market.put(item.clone());
                }
            }
            Step::Commit => {
                market.page(&SearchQuery::default()).await;
            }
        }
    }
}

/// Compares all pages of a query with the plain loop.
async fn compare(market: &Market, listed: &Listed, query: &SearchQuery) {
    let expected = plain::search(listed.values(), query);
    let (mut query, mut found) = (query.clone(), Vec::new());
    loop {
        let page = market.page(&query).await;
        found.extend(numbers(&page));
        let mut categories = page.categories.clone();
        assert!(categories.is_sorted_by(|(_, a), (_, b)| a >= b));
        categories.sort_unstable();
        assert_eq!(page.total, expected.found.len() as u64, "{query:?}");
        assert_eq!((page.leniency, page.as_typed), (expected.leniency, expected.as_typed), "{query:?}");
        assert_eq!(categories, expected.categories, "{query:?}");
        if page.next.is_none() {
            break;
        }
        assert_eq!(page.items.len(), query.limit);
        query.after = page.next;
    }
    assert_eq!(found, expected.found, "{query:?}");
}

/// A page that follows a sale continues where the item is now, though its document is where it was.
#[tokio::test]
async fn sold_out_items_come_last_at_once() {
    let market = Market::of_names(&["Lamp", "Lamp", "Lamp", "Lamp", "Red lamp"]).await;
    assert_eq!(market.finds("lamp").await, [4, 3, 2, 1, 5]);
    let mut paged = SearchQuery { text: text("lamp"), limit: 2, ..SearchQuery::default() };
    market.put(market.shop.changed(4, |item| item.quantity = 0));
    market.put(market.shop.changed(2, |item| item.quantity = 0));
    assert_eq!(market.finds("lamp").await, [3, 1, 4, 2, 5]);
    let mut found = Vec::new();
    loop {
        let page = market.page(&paged).await;
        found.extend(numbers(&page));
        if page.next.is_none() {
            break;
        }
        paged.after = page.next;
        // Further on, it would be found twice if it were still where its document is.
        market.put(market.shop.changed(3, |item| item.quantity = 0));
    }
    assert_eq!(found, [3, 1, 4, 3, 2, 5]);
    market.put(market.shop.changed(2, |item| item.quantity = 1));
    assert_eq!(market.finds("lamp").await, [2, 1, 4, 3, 5]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_finds_what_a_plain_loop_finds(
        before in prop::collection::vec(any_step(), 1..80),
        after in prop::collection::vec(any_step(), 0..20),
        queries in prop::collection::vec((any_query(), 1..8_usize), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            // Documents follow within a minute, and those of the first market at once.
            for market in [Market::prompt(Arc::default()).await, Market::in_memory().await] {
                let mut listed = Listed::new();
                // Several times, so that later searches use what is kept of the earlier ones.
                for steps in [&before, &after, &vec![]] {
                    replay(&market, &mut listed, steps).await;
                    for (query, limit) in &queries {
                        for order in ORDERS {
                            let query = SearchQuery { order, limit: *limit, ..query.clone() };
                            compare(&market, &listed, &query).await;
                        }
                    }
                }
                market.search.close().await;
            }
        });
    }
}
