//! The conditions of a standing query, and what an item has to meet them with.

use std::hash::{Hash, Hasher};

use souk_domain::{Category, Item, PartyId};

use crate::{PriceRange, SearchQuery, words};

/// The conditions of a query, without its order, page and hidden sellers. Queries that differ only in how they are
/// written, such as in case, are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditions {
    pub(super) words: Vec<Asked>,
    pub(super) category: Option<Category>,
    pub(super) price: PriceRange,
    /// The bits of the lowest mean, so that conditions can be compared and hashed.
    pub(super) min_rating: Option<u64>,
    pub(super) seller: Option<PartyId>,
    pub(super) in_stock: bool,
}

/// What a query asks for by one word. An item has it in any of the ways, or by a word with the beginning.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    /// The terms of each way, all of which an item must have.
    pub(super) ways: Vec<Vec<String>>,
    pub(super) beginning: Option<String>,
}

/// What an item is found by: the different terms of its texts, in order. They are compared with any number of queries.
#[derive(Clone, Debug, Default)]
pub struct ItemTerms(Vec<String>);

/// A condition that an item does not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The word with this number.
    Word(usize),
    Seller,
    Category,
    /// Something that many items have or change.
    Other,
}

impl Conditions {
    /// Returns the conditions of a query.
    pub fn of(query: &SearchQuery) -> Self {
        let mut words = words::different_words(query.text.as_str(), SearchQuery::MAX_WORDS);
        // The last word may be unfinished, because clients search while the user types.
        let last = words.pop().map(|word| Asked { ways: Vec::new(), beginning: Some(word) });
        let whole = words.into_iter().map(|word| Asked { ways: vec![vec![word]], beginning: None });
        Self {
            words: whole.chain(last).collect(),
            category: query.category.clone(),
            price: query.price,
            min_rating: query.min_rating.map(f64::to_bits),
            seller: query.seller,
            in_stock: query.in_stock,
        }
    }

    /// Returns whether an item meets all conditions. The terms are the item's.
    pub fn hold_for(&self, item: &Item, terms: &ItemTerms) -> bool {
        item.is_listed() && self.missing(item, terms).is_none()
    }

    /// Returns a condition that an item does not meet, the cheapest to look at first; `None` if it meets all.
    pub(super) fn missing(&self, item: &Item, terms: &ItemTerms) -> Option<Missing> {
        let Self { words, category, price, min_rating, seller, in_stock } = self;
        if seller.is_some_and(|seller| seller != item.seller) {
            return Some(Missing::Seller);
        }
        if category.as_ref().is_some_and(|category| !is_within(&item.category, category)) {
            return Some(Missing::Category);
        }
        let least = min_rating.map(f64::from_bits);
        let is_rated = least.is_none_or(|least| item.rating.mean().is_some_and(|mean| mean >= least));
        if *in_stock && item.quantity == 0 || !is_rated || !price.contains(item.unit_price) {
            return Some(Missing::Other);
        }
        words.iter().position(|word| !word.is_in(terms)).map(Missing::Word)
    }
}

impl Hash for Conditions {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Without the price: it is compared.
        let Self { words, category, price: _, min_rating, seller, in_stock } = self;
        (words, category, min_rating, seller, in_stock).hash(state);
    }
}

impl Asked {
    fn is_in(&self, terms: &ItemTerms) -> bool {
        self.ways.iter().any(|way| way.iter().all(|term| terms.has(term)))
            || self.beginning.as_ref().is_some_and(|beginning| terms.has_beginning(beginning))
    }
}

impl ItemTerms {
    /// Returns the terms of an item.
    pub fn of(item: &Item) -> Self {
        let texts = [item.name.as_str(), item.description.as_str()];
        let mut terms: Vec<String> = texts.into_iter().flat_map(words::words).collect();
        terms.sort_unstable();
        terms.dedup();
        Self(terms)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    fn has(&self, term: &str) -> bool {
        self.0.binary_search_by(|own| own.as_str().cmp(term)).is_ok()
    }

    fn has_beginning(&self, beginning: &str) -> bool {
        let first = self.0.partition_point(|own| own.as_str() < beginning);
        self.0.get(first).is_some_and(|own| own.starts_with(beginning))
    }
}

fn is_within(category: &Category, of: &Category) -> bool {
    let below = category.as_str().strip_prefix(of.as_str());
    below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
}
