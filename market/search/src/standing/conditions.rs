//! The conditions of a standing query, and what an item has to meet them with.

use std::hash::{Hash, Hasher};

use souk_domain::{Category, Item, PartyId, Sku};

use crate::{
    PriceRange, SearchQuery,
    words::{self, Phase, Wanted, Wording},
};

/// The conditions of a query, without its order, page and hidden sellers. Queries that differ only in how they are
/// written, such as in case, are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditions {
    pub(super) words: Vec<Asked>,
    /// Whether the text has no words, but symbols, so that nothing matches.
    pub(super) is_wordless: bool,
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
    /// Returns the conditions of a query: what it finds as typed.
    pub fn of(query: &SearchQuery, wording: &Wording) -> Self {
        let text = query.text.as_str();
        Self {
            words: wording.wanted(text).into_iter().map(Asked::from).collect(),
            is_wordless: words::is_wordless(text),
            category: query.category.clone(),
            price: query.price,
            min_rating: query.min_rating.map(f64::to_bits),
            seller: query.seller,
            in_stock: query.in_stock,
        }
    }

    /// Returns a condition that an item does not meet, the cheapest to look at first; `None` if it meets all.
    pub(super) fn missing(&self, item: &Item, terms: &ItemTerms) -> Option<Missing> {
        let Self { words, is_wordless, category, price, min_rating, seller, in_stock } = self;
        if seller.is_some_and(|seller| seller != item.seller) {
            return Some(Missing::Seller);
        }
        if category.as_ref().is_some_and(|category| !is_within(&item.category, category)) {
            return Some(Missing::Category);
        }
        let least = min_rating.map(f64::from_bits);
        let is_rated = least.is_none_or(|least| item.rating.mean().is_some_and(|mean| mean >= least));
        if *is_wordless || *in_stock && item.quantity == 0 || !is_rated || !price.contains(item.unit_price) {
            return Some(Missing::Other);
        }
        words.iter().position(|word| !word.is_in(terms)).map(Missing::Word)
    }
}

impl Hash for Conditions {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Without the price: it is compared.
        let Self { words, is_wordless, category, price: _, min_rating, seller, in_stock } = self;
        (words, is_wordless, category, min_rating, seller, in_stock).hash(state);
    }
}

impl From<Wanted> for Asked {
    fn from(wanted: Wanted) -> Self {
        let Wanted { typed, ways, may_be_unfinished } = wanted;
        let ways = ways.into_iter().filter(|way| way.phase == Phase::AsTyped).map(|way| way.terms);
        // A word as typed also begins as typed.
        let ways = ways.filter(|terms| !may_be_unfinished || *terms != [typed.as_str()]).collect();
        Self { ways, beginning: may_be_unfinished.then_some(typed) }
    }
}

impl Asked {
    fn is_in(&self, terms: &ItemTerms) -> bool {
        self.ways.iter().any(|way| way.iter().all(|term| terms.contains(term)))
            || self.beginning.as_ref().is_some_and(|beginning| terms.has_beginning(beginning))
    }
}

impl ItemTerms {
    /// Returns the terms of an item.
    pub fn of(item: &Item, wording: &Wording) -> Self {
        let texts =
            [Some(item.name.as_str()), Some(item.description.as_str()), item.sku.as_ref().map(Sku::as_str)];
        let indexed = texts.into_iter().flatten().map(|text| wording.indexed(text));
        let mut terms: Vec<String> =
            indexed.flat_map(|indexed| indexed.typed.into_iter().chain(indexed.also)).collect();
        terms.sort_unstable();
        terms.dedup();
        Self(terms)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub(crate) fn contains(&self, term: &str) -> bool {
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
