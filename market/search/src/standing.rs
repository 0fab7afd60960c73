//! Standing queries: reverse search (percolation), in which an item finds the queries that it matches.
//!
//! A watched search must not search the index again at every commit. Instead, each query is filed under one of its words,
//! and a changed item looks up its own words. Only the queries found there are compared with it, each once, however many
//! watchers share it. What matches is exactly what [`Search`](super::Search) finds with
//! [`SearchQuery::is_exact`](super::SearchQuery::is_exact).

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use souk_domain::{Category, Item, PartyId};

use super::{PriceRange, SearchQuery, words};

/// The conditions of a query, without its order, page and hidden sellers. Queries that differ only in how they are
/// written, such as in case, are equal.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    words: Vec<String>,
    category: Option<Category>,
    price: PriceRange,
    min_rating: Option<f64>,
    seller: Option<PartyId>,
    in_stock: bool,
}

/// Standing queries by their keys.
#[derive(Debug)]
pub struct StandingQueries<K> {
    conditions: HashMap<K, Conditions>,
    /// Queries of several words, by the first one, which matches only as a whole.
    by_word: HashMap<String, Vec<K>>,
    /// Queries of one word, which may be the beginning of the item's.
    by_beginning: HashMap<String, Vec<K>>,
    /// Queries without words.
    by_nothing: Vec<K>,
}

/// The words of an item.
struct ItemWords(HashSet<String>);

impl Conditions {
    /// Returns the conditions of a query.
    pub fn of(query: &SearchQuery) -> Self {
        Self {
            words: words::different_words(query.text.as_str(), SearchQuery::MAX_WORDS),
            category: query.category.clone(),
            price: query.price,
            min_rating: query.min_rating,
            seller: query.seller,
            in_stock: query.in_stock,
        }
    }

    fn match_item(&self, item: &Item, words: &ItemWords) -> bool {
        let Self { words: wanted, category, price, min_rating, seller, in_stock } = self;
        seller.is_none_or(|seller| seller == item.seller)
            && (!in_stock || item.quantity > 0)
            && category.as_ref().is_none_or(|category| is_within(&item.category, category))
            && price.contains(item.unit_price)
            && min_rating.is_none_or(|least| item.rating.mean().is_some_and(|mean| mean >= least))
            && wanted.split_last().is_none_or(|(last, others)| {
                others.iter().all(|word| words.0.contains(word)) && words.any_begins_with(last)
            })
    }
}

impl ItemWords {
    fn of(item: &Item) -> Self {
        let texts = [item.name.as_str(), item.description.as_str()];
        Self(texts.into_iter().flat_map(words::words).collect())
    }

    fn any_begins_with(&self, beginning: &str) -> bool {
        self.0.contains(beginning) || self.0.iter().any(|word| word.starts_with(beginning))
    }
}

impl<K> Default for StandingQueries<K> {
    fn default() -> Self {
        Self {
            conditions: HashMap::new(),
            by_word: HashMap::new(),
            by_beginning: HashMap::new(),
            by_nothing: Vec::new(),
        }
    }
}

impl<K: Copy + Eq + Hash> StandingQueries<K> {
    /// Adds a query. The key must be new.
    pub fn insert(&mut self, key: K, conditions: Conditions) {
        match &conditions.words[..] {
            [] => self.by_nothing.push(key),
            [only] => self.by_beginning.entry(only.clone()).or_default().push(key),
            [first, ..] => self.by_word.entry(first.clone()).or_default().push(key),
        }
        self.conditions.insert(key, conditions);
    }

    /// Removes a query.
    pub fn remove(&mut self, key: K) {
        let Some(conditions) = self.conditions.remove(&key) else { return };
        match &conditions.words[..] {
            [] => self.by_nothing.retain(|other| *other != key),
            [only] => remove_from(&mut self.by_beginning, only, key),
            [first, ..] => remove_from(&mut self.by_word, first, key),
        }
    }

    /// Returns the keys of all queries that an item matches, each once and in any order. An item that is not listed
    /// matches none.
    pub fn matching(&self, item: &Item) -> Vec<K> {
        if !item.is_listed() || self.conditions.is_empty() {
            return Vec::new();
        }
        let words = ItemWords::of(item);
        let mut candidates: Vec<K> = self.by_nothing.clone();
        for word in &words.0 {
            candidates.extend(self.by_word.get(word).into_iter().flatten());
        }
        if !self.by_beginning.is_empty() {
            // Different words may begin in the same way.
            let beginnings: HashSet<&str> = words.0.iter().flat_map(|word| beginnings(word)).collect();
            for beginning in beginnings {
                candidates.extend(self.by_beginning.get(beginning).into_iter().flatten());
            }
        }
        // Each query is filed in one place, so none is here twice.
        candidates.retain(|key| self.conditions.get(key).is_some_and(|of| of.match_item(item, &words)));
        candidates
    }
}

fn remove_from<K: Eq>(filed: &mut HashMap<String, Vec<K>>, word: &str, key: K) {
    if let Some(keys) = filed.get_mut(word) {
        keys.retain(|other| *other != key);
        if keys.is_empty() {
            filed.remove(word);
        }
    }
}

/// Returns all beginnings of a word, the whole word included.
fn beginnings(word: &str) -> impl Iterator<Item = &str> {
    let ends = word.char_indices().map(|(start, _)| start).skip(1).chain([word.len()]);
    ends.map(|end| &word[..end])
}

fn is_within(category: &Category, of: &Category) -> bool {
    let below = category.as_str().strip_prefix(of.as_str());
    below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
}
