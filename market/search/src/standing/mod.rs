//! Standing queries: reverse search (percolation), in which an item finds the queries that it matches.
//!
//! A watched search must not search the index again at every commit. Instead, each query is filed under the rarest of its
//! words (or its seller or category), and a changed item looks up its own. Only the queries found there are compared with
//! it, each once, however many watchers share it. What matches is exactly what [`Search`](super::Search) finds with
//! [`SearchQuery::is_exact`](super::SearchQuery::is_exact).
//!
//! What is rare is learned from the changed items. If an item lacks one of a query's words, and far fewer items had that word
//! than the one the query is filed under, the query is filed under it from then on.

mod conditions;
mod filing;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, hash::Hash};

use souk_domain::Item;

pub use conditions::{Conditions, ItemTerms};
use filing::{Aspect, Files};

/// Standing queries by their keys.
#[derive(Debug)]
pub struct StandingQueries<K> {
    queries: HashMap<K, Query>,
    files: Files<K>,
    /// Queries that ask for no word, seller or category.
    unfiled: Vec<K>,
    compared: u64,
}

#[derive(Debug)]
struct Query {
    conditions: Conditions,
    aspects: Vec<Aspect>,
    /// The number of the aspect by which it is filed, with the labels under which it is found.
    filed: Option<(usize, Vec<u64>)>,
}

impl<K> Default for StandingQueries<K> {
    fn default() -> Self {
        Self { queries: HashMap::new(), files: Files::default(), unfiled: Vec::new(), compared: 0 }
    }
}

impl<K: Copy + Ord + Hash> StandingQueries<K> {
    /// Adds a query. The key must be new.
    pub fn insert(&mut self, key: K, conditions: Conditions) {
        let aspects = self.files.mention(&conditions);
        let filed =
            self.files.rarest(&aspects).map(|rarest| (rarest, self.files.file(key, &aspects[rarest])));
        if filed.is_none() {
            self.unfiled.push(key);
        }
        self.queries.insert(key, Query { conditions, aspects, filed });
    }

    /// Removes a query.
    pub fn remove(&mut self, key: K) {
        let Some(Query { conditions, aspects, filed }) = self.queries.remove(&key) else { return };
        match filed {
            Some((_, labels)) => self.files.unfile(key, &labels),
            None => self.unfiled.retain(|other| *other != key),
        }
        self.files.forget(&conditions, &aspects);
    }

    /// Returns the keys of all queries that an item matches, in order. The terms are the item's. An item that is not listed
    /// matches none.
    pub fn matching(&mut self, item: &Item, terms: &ItemTerms) -> Vec<K> {
        if !item.is_listed() || self.queries.is_empty() {
            return Vec::new();
        }
        let mut candidates = self.files.look_up(item, terms);
        candidates.extend_from_slice(&self.unfiled);
        candidates.sort_unstable();
        candidates.dedup();
        self.compared += candidates.len() as u64;
        candidates.retain(|key| self.compare(*key, item, terms));
        candidates
    }

    /// Returns how many times a query was compared with an item.
    pub fn compared(&self) -> u64 {
        self.compared
    }

    /// Returns whether an item matches a query. If not, and that could have been known earlier, refiles the query.
    fn compare(&mut self, key: K, item: &Item, terms: &ItemTerms) -> bool {
        let Some(query) = self.queries.get_mut(&key) else { return false };
        let Some(missing) = query.conditions.missing(item, terms) else { return true };
        if let Some((present, labels)) = &query.filed
            && let Some(rarer) = self.files.rarer(&query.aspects, *present, missing)
        {
            self.files.unfile(key, labels);
            query.filed = Some((rarer, self.files.file(key, &query.aspects[rarer])));
        }
        false
    }
}
