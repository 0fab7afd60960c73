//! What searches cost, in postings read.

use souk_domain::{Description, Timestamp};
use souk_store::FeedPosition;

use super::*;
use crate::{Leniency, effort::Effort};

const ITEMS: i64 = 4_000;
/// The tiers in which lamps match.
const TIERS: usize = 4;

/// Lists many lamps, some of them red.
async fn lamps() -> Market {
    let market = Market::in_memory().await;
    for number in 1..=ITEMS {
        let name = if number % 2 == 0 { "red lamp" } else { "lamp" };
        let path = format!("home/c{}", number % 7);
        let description = Description::trusted("made for every room".to_owned());
        market.put(Item { category: category(&path), description, ..item(number, name) });
    }
    // A search would wait only a while for so many.
    market.search.wait_past(FeedPosition(ITEMS - 1)).await;
    market.page(&SearchQuery::default()).await;
    market
}

impl Market {
    /// Returns the cursor of the next page, and what this one costs.
    fn cost(&self, query: &SearchQuery) -> (Option<crate::SearchCursor>, u64) {
        let mut effort = Effort::up_to(u64::MAX);
        let hits = self.search.shared.live.reader.load().find(query, &mut effort).unwrap();
        (hits.cursors().next_back().filter(|_| hits.more), effort.spent())
    }
}

fn query(words: &str, order: SearchOrder) -> SearchQuery {
    SearchQuery { text: text(words), order, limit: 10, ..SearchQuery::default() }
}

#[tokio::test]
async fn page_far_behind_costs_what_the_first_does() {
    let market = lamps().await;
    let orders = [SearchOrder::PriceAscending, SearchOrder::PriceDescending, SearchOrder::Rating];
    let blank = [SearchOrder::Newest].into_iter().chain(orders).map(|order| query("", order));
    let words = ["lamp", "red lamp", "lam", "made lamp"].map(|words| query(words, SearchOrder::Relevance));
    for mut query in blank.chain(words) {
        market.cost(&query);
        let (mut next, first) = market.cost(&query);
        let mut costs = Vec::new();
        while next.is_some() {
            query.after = next;
            let cost;
            (next, cost) = market.cost(&query);
            costs.push(cost);
        }
        assert!(costs.len() > 100, "{query:?}");
        let dear: Vec<_> = costs.iter().filter(|cost| **cost > first + 100).collect();
        // The first page of each tier skips what is in the tiers before.
        assert!(dear.len() <= TIERS, "the first page costs {first}, and others {dear:?}: {query:?}");
    }
}

#[tokio::test]
async fn known_counts_are_not_made_again() {
    let market = lamps().await;
    let lamps = query("lamp", SearchOrder::Relevance);
    let (_, first) = market.cost(&lamps);
    let (_, second) = market.cost(&lamps);
    assert!(first > ITEMS as u64 && second < 100, "{first}, then {second}");
    // The segments stay, and lose documents.
    for number in [7, 8, 9] {
        market.put(Item { deleted_at: Some(Timestamp(1)), ..item(number, "lamp") });
    }
    market.put(item(10, "chair"));
    assert_eq!(market.page(&query("chair", SearchOrder::Newest)).await.total, 1);
    let (_, after_changes) = market.cost(&lamps);
    assert!(after_changes < 200, "{after_changes}");
    assert_eq!(market.page(&lamps).await.total, ITEMS as u64 - 4);
}

#[tokio::test]
async fn sales_and_ratings_do_not_count_everything_again() {
    let market = lamps().await;
    let in_stock = SearchQuery { in_stock: true, ..query("lamp", SearchOrder::Relevance) };
    let rated_well = SearchQuery { min_rating: Some(4.0), ..in_stock.clone() };
    market.put(market.shop.changed(5, |item| item.rating = rated(2, 10)));
    for (filtered, total) in [(&in_stock, ITEMS as u64), (&rated_well, 1)] {
        assert_eq!(market.page(filtered).await.total, total);
    }
    for number in [7, 8, 9] {
        market.put(market.shop.changed(number, |item| item.quantity = 0));
    }
    market.put(market.shop.changed(10, |item| item.rating = rated(1, 5)));
    market.page(&query("chair", SearchOrder::Newest)).await;
    let (_, cost) = market.cost(&in_stock);
    assert!(cost < 200, "{cost}");
    for (filtered, total) in [(&in_stock, ITEMS as u64 - 3), (&rated_well, 2)] {
        let page = market.page(filtered).await;
        let counted: u64 = page.categories.iter().map(|(_, count)| count).sum();
        assert_eq!((page.total, counted), (total, total));
    }
}

#[tokio::test]
async fn search_gives_up_before_it_reads_too_much() {
    let market = lamps().await;
    let reader = market.search.shared.live.reader.load_full();
    for words in ["lamp", "red lamp", "lamq", "la"] {
        let mut little = Effort::up_to(1_000);
        let stopped = reader.find(&query(words, SearchOrder::Relevance), &mut little);
        assert!(matches!(stopped, Err(crate::effort::Stop::TooExpensive)), "{words}");
        let page = market.page(&query(words, SearchOrder::Relevance)).await;
        assert_eq!(page.total, if words == "red lamp" { ITEMS as u64 / 2 } else { ITEMS as u64 }, "{words}");
    }
    let misspelt = market.page(&query("lamq", SearchOrder::Relevance)).await;
    assert_eq!((misspelt.leniency, misspelt.as_typed), (Leniency::OneTypo, 0));
}
