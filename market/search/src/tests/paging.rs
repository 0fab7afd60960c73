//! Pagination in every order.

use proptest::prelude::*;
use souk_domain::Timestamp;

use super::*;

/// One item of a random shop. The values are few, so that ties are common.
#[derive(Clone, Debug)]
struct Draft {
    words: Vec<usize>,
    price: i64,
    is_euro: bool,
    rating: (i64, i64),
    category: usize,
    quantity: i64,
}

const WORDS: [&str; 6] = ["lamp", "lamps", "red", "strawberry", "84029", "Crème"];
const CATEGORIES: [&str; 4] = ["home", "home/light", "home-x", "garden"];

fn draft() -> impl Strategy<Value = Draft> {
    let rating =
        prop_oneof![Just((0, 0)), (1..4i64, 1..6i64).prop_map(|(count, stars)| (count, count * stars))];
    (
        prop::collection::vec(0..WORDS.len(), 1..4),
        0..5i64,
        any::<bool>(),
        rating,
        0..CATEGORIES.len(),
        0..2i64,
    )
        .prop_map(|(words, price, is_euro, rating, category, quantity)| Draft {
            words,
            price,
            is_euro,
            rating,
            category,
            quantity,
        })
}

impl Draft {
    fn item(&self, number: i64) -> Item {
        let words: Vec<_> = self.words.iter().map(|word| WORDS[*word]).collect();
        Item {
            unit_price: Money::price(self.price, if self.is_euro { "EUR" } else { "GBP" }).unwrap(),
            rating: rated(self.rating.0, self.rating.1),
            category: category(CATEGORIES[self.category]),
            quantity: self.quantity,
            ..item(number, &words.join(" "))
        }
    }
}

/// The history of a shop before it is searched: items listed or changed, by number, and some deleted.
#[derive(Clone, Debug)]
struct History {
    drafts: Vec<(i64, Draft)>,
    deleted: Vec<i64>,
}

fn history() -> impl Strategy<Value = History> {
    let drafts = prop::collection::vec((1..25i64, draft()), 1..40);
    (drafts, prop::collection::vec(1..25i64, 0..6)).prop_map(|(drafts, deleted)| History { drafts, deleted })
}

impl History {
    /// Replays the history in several commits, and returns the items that are listed at the end.
    async fn replay(&self, market: &Market) -> Vec<Item> {
        let mut listed = std::collections::BTreeMap::new();
        for (step, (number, draft)) in self.drafts.iter().enumerate() {
            let item = draft.item(*number);
            listed.insert(*number, item.clone());
            market.put(item);
            if step % 7 == 0 {
                market.page(&SearchQuery::default()).await;
            }
        }
        for number in &self.deleted {
            if let Some(item) = listed.remove(number) {
                market.put(Item { deleted_at: Some(Timestamp(1)), ..item });
            }
        }
        listed.into_values().collect()
    }
}

/// Fetches all pages of a query. With `disturb`, changes the shop in between in ways that the query ignores.
async fn all_pages(market: &Market, query: &SearchQuery, limit: usize, disturb: bool) -> Vec<i64> {
    let mut query = SearchQuery { limit, ..query.clone() };
    let mut found = Vec::new();
    for round in 0.. {
        let page = market.page(&query).await;
        assert!(page.items.len() <= limit);
        found.extend(numbers(&page));
        if page.next.is_none() {
            break;
        }
        query.after = page.next;
        if disturb {
            // In a category that every disturbed query excludes.
            market.put(Item { category: category("attic"), ..item(1_000 + round, "lamp red strawberry") });
        }
    }
    found
}

/// Returns the expected result of an order without words.
fn expected(mut items: Vec<Item>, order: SearchOrder) -> Vec<i64> {
    let price = |item: &Item| (item.unit_price.currency_code(), item.unit_price.amount_minor());
    items.sort_by(|a, b| {
        let by_number = a.id.cmp(&b.id);
        match order {
            SearchOrder::Relevance | SearchOrder::Newest => by_number.reverse(),
            SearchOrder::PriceAscending => price(a).cmp(&price(b)).then(by_number),
            SearchOrder::PriceDescending => {
                let ((a_code, a_amount), (b_code, b_amount)) = (price(a), price(b));
                a_code.cmp(b_code).then(b_amount.cmp(&a_amount)).then(by_number)
            }
            SearchOrder::Rating => {
                let mean = |item: &Item| item.rating.mean().unwrap_or(0.0);
                mean(b).total_cmp(&mean(a)).then(by_number)
            }
        }
    });
    items.into_iter().map(|item| item.id.0).collect()
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn pages_contain_every_item_once_in_order(history in history(), limit in 1..9usize) {
        run(async {
            let market = Market::in_memory().await;
            let listed = history.replay(&market).await;
            for order in ORDERS {
                let query = SearchQuery { order, ..SearchQuery::default() };
                let expected = expected(listed.clone(), order);
                assert_eq!(all_pages(&market, &query, limit, false).await, expected, "{order:?}");
                let page = market.page(&query).await;
                assert_eq!(page.total as usize, listed.len());
                let counted: u64 = page.categories.iter().map(|(_, count)| count).sum();
                assert_eq!(counted, page.total);
            }
        });
    }

    #[test]
    fn pages_of_words_and_filters_are_exact_while_other_items_change(
        history in history(),
        words in prop::collection::vec(0..WORDS.len(), 1..3),
        limit in 1..6usize,
    ) {
        run(async {
            let market = Market::in_memory().await;
            history.replay(&market).await;
            let words: Vec<_> = words.into_iter().map(|word| WORDS[word]).collect();
            for order in ORDERS {
                let query = SearchQuery {
                    text: text(&words.join(" ")),
                    category: Some(category("home")),
                    order,
                    limit: SearchQuery::MAX_LIMIT,
                    ..SearchQuery::default()
                };
                let at_once = market.found(&query).await;
                assert_eq!(all_pages(&market, &query, limit, true).await, at_once, "{order:?}");
                assert_eq!(market.found(&query).await, at_once, "{order:?}");
            }
        });
    }

    #[test]
    fn rebuilt_index_gives_the_same_results(history in history(), word in 0..WORDS.len()) {
        run(async {
            let market = Market::in_memory().await;
            history.replay(&market).await;
            let rebuilt = Market::open(Arc::clone(&market.shop), IndexHome::Memory).await;
            for order in ORDERS {
                let query = SearchQuery { text: text(WORDS[word]), order, limit: 5, ..SearchQuery::default() };
                let (before, after) = (market.page(&query).await, rebuilt.page(&query).await);
                assert_eq!(numbers(&before), numbers(&after));
                assert_eq!((before.next, before.total), (after.next, after.total));
                assert_eq!(before.categories, after.categories);
            }
        });
    }
}

#[tokio::test]
async fn cursor_survives_deletion_of_its_item() {
    let market = Market::of_names(&["Lamp", "Lamp", "Lamp", "Lamp"]).await;
    let query = SearchQuery { text: text("lamp"), limit: 2, ..SearchQuery::default() };
    let first = market.page(&query).await;
    assert_eq!(numbers(&first), [4, 3]);
    market.put(Item { deleted_at: Some(Timestamp(1)), ..item(3, "Lamp") });
    let second = market.page(&SearchQuery { after: first.next, ..query }).await;
    assert_eq!((numbers(&second), second.next), (vec![2, 1], None));
}

#[tokio::test]
async fn cursor_survives_serialization() {
    let market = Market::of_names(&["Lamp", "Lamp", "Lamp"]).await;
    let query = SearchQuery { text: text("lamp"), limit: 1, ..SearchQuery::default() };
    let next = market.page(&query).await.next.unwrap();
    let written = serde_json::to_string(&next).unwrap();
    assert_eq!(serde_json::from_str::<crate::SearchCursor>(&written).unwrap(), next);
}
