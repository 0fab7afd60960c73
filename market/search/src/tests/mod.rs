//! Tests of searches against a fake store.

mod comparing;
mod corpus;
mod costs;
mod following;
mod histories;
mod imports;
mod matching;
mod paging;
mod plain;
mod power_cut;
mod shop;
mod standing;
mod tiers;
mod words;

use std::sync::Arc;

use souk_domain::{Category, Item, ItemName, Money, PartyId, RatingSummary};
use uuid::Uuid;

use super::{
    IndexHome, Search, SearchOrder, SearchPage, SearchQuery, SearchText, Setup, StoreWriters, Wording,
};
pub(crate) use shop::{Shop, item};

const ORDERS: [SearchOrder; 5] = [
    SearchOrder::Relevance,
    SearchOrder::PriceAscending,
    SearchOrder::PriceDescending,
    SearchOrder::Rating,
    SearchOrder::Newest,
];

fn text(text: &str) -> SearchText {
    SearchText::parse(text).unwrap()
}

/// A fake shop and a search index of it.
struct Market {
    shop: Arc<Shop>,
    search: Search,
}

impl Market {
    async fn in_memory() -> Self {
        Self::open(Arc::default(), IndexHome::Memory).await
    }

    /// A market whose documents follow stock, ratings and ranks at once, not within a minute.
    async fn prompt(shop: Arc<Shop>) -> Self {
        let setup = Setup { home: IndexHome::Memory, wording: Wording::default(), max_late: 0 };
        Self::opened(Search::open_with(setup, shop.clone(), StoreWriters::Several).await.unwrap(), shop)
    }

    async fn open(shop: Arc<Shop>, home: IndexHome) -> Self {
        Self::open_with(shop, home, Wording::default()).await
    }

    async fn open_with(shop: Arc<Shop>, home: IndexHome, wording: Wording) -> Self {
        let search = Search::open(home, wording, shop.clone(), StoreWriters::Several).await.unwrap();
        Self::opened(search, shop)
    }

    fn opened(search: Search, shop: Arc<Shop>) -> Self {
        // What is in the shop already counts as the caller's own writes, so that searches wait for it.
        search.remember(alice(), shop.position());
        Self { shop, search }
    }

    /// Lists or changes an item as Alice's own write.
    fn put(&self, item: Item) {
        self.search.remember(alice(), self.shop.put(item));
    }

    /// Lists items 1, 2, 3, … by name.
    async fn of_names(names: &[&str]) -> Self {
        let market = Self::in_memory().await;
        market.put_named(names);
        market
    }

    /// Lists items 1, 2, 3, … by name as Alice's own writes.
    fn put_named(&self, names: &[&str]) {
        for (number, name) in (1..).zip(names) {
            self.put(item(number, name));
        }
    }

    async fn page(&self, query: &SearchQuery) -> SearchPage {
        self.search.search(alice(), query).await.unwrap()
    }

    /// Returns the numbers of the items found by a query.
    async fn found(&self, query: &SearchQuery) -> Vec<i64> {
        numbers(&self.page(query).await)
    }

    /// Returns the numbers of the items found by a text.
    async fn finds(&self, words: &str) -> Vec<i64> {
        self.found(&SearchQuery { text: text(words), ..SearchQuery::default() }).await
    }

    /// Returns the numbers of the items that have the words of a text as typed.
    async fn finds_exactly(&self, words: &str) -> Vec<i64> {
        self.found(&SearchQuery { text: text(words), is_exact: true, ..SearchQuery::default() }).await
    }
}

pub(crate) fn named(name: &str) -> ItemName {
    ItemName::trusted(name.to_owned())
}

fn numbers(page: &SearchPage) -> Vec<i64> {
    page.items.iter().map(|item| item.id.0).collect()
}

fn alice() -> PartyId {
    PartyId(Uuid::from_u128(1))
}

fn pounds(amount_minor: i64) -> Money {
    Money::price(amount_minor, "GBP").unwrap()
}

fn category(path: &str) -> Category {
    Category::parse(path).unwrap()
}

pub(crate) fn rated(count: i64, total_stars: i64) -> RatingSummary {
    RatingSummary { count, total_stars }
}
