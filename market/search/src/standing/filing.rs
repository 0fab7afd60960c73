//! Where standing queries are filed: under labels, such as words, that an item must have to match.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher as _, RandomState},
};

use souk_domain::{Category, Item, PartyId};

use super::conditions::{Asked, Conditions, ItemTerms, Missing};
use crate::schema::with_ancestors;

/// The hash of a label. Two labels with one hash share a place, which costs comparisons but changes no result.
type Label = u64;

/// A query is not refiled if two labels differ by at most this in how often they were seen.
const SLACK: u64 = 8;

/// A condition by which a query can be filed: an item that meets it has all labels of one of the ways.
#[derive(Clone, Debug)]
pub(super) struct Aspect {
    ways: Vec<Vec<Label>>,
    /// Decides between aspects that were seen equally often: what is likely to be rare comes first.
    likely: (u8, Reverse<usize>),
    missing: Missing,
}

/// What is kept under a label.
#[derive(Debug)]
struct Place<K> {
    /// The number of queries that mention the label.
    mentions: usize,
    /// The number of changed items that had it.
    seen: u64,
    /// The queries that are filed here.
    filed: Vec<K>,
}

/// All labels that queries mention, with the queries that are filed under them.
#[derive(Debug)]
pub(super) struct Files<K> {
    hasher: RandomState,
    places: HashMap<Label, Place<K>>,
    /// The number of beginnings that are mentioned, by their length in bytes.
    lengths: BTreeMap<usize, usize>,
}

impl<K> Default for Files<K> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), places: HashMap::new(), lengths: BTreeMap::new() }
    }
}

impl<K: Copy + Eq> Files<K> {
    /// Notes the labels of a query, so that they are counted, and returns the conditions by which it can be filed.
    pub(super) fn mention(&mut self, conditions: &Conditions) -> Vec<Aspect> {
        let aspects = self.aspects(conditions);
        for label in aspects.iter().flat_map(Aspect::labels) {
            let place = Place { mentions: 0, seen: 0, filed: Vec::new() };
            self.places.entry(label).or_insert(place).mentions += 1;
        }
        for beginning in conditions.words.iter().filter_map(|word| word.beginning.as_ref()) {
            *self.lengths.entry(beginning.len()).or_default() += 1;
        }
        aspects
    }

    /// Forgets what [`Self::mention`] has noted.
    pub(super) fn forget(&mut self, conditions: &Conditions, aspects: &[Aspect]) {
        for label in aspects.iter().flat_map(Aspect::labels) {
            if let Some(place) = self.places.get_mut(&label) {
                place.mentions -= 1;
                if place.mentions == 0 {
                    self.places.remove(&label);
                }
            }
        }
        for beginning in conditions.words.iter().filter_map(|word| word.beginning.as_ref()) {
            if let Some(count) = self.lengths.get_mut(&beginning.len()) {
                *count -= 1;
                if *count == 0 {
                    self.lengths.remove(&beginning.len());
                }
            }
        }
    }

    /// Returns the aspect that the fewest items had so far.
    pub(super) fn rarest(&self, aspects: &[Aspect]) -> Option<usize> {
        (0..aspects.len()).min_by_key(|number| (self.seen(&aspects[*number]), aspects[*number].likely))
    }

    /// Returns the aspect for a condition that an item did not meet, if far fewer items had it than the present one.
    pub(super) fn rarer(&self, aspects: &[Aspect], present: usize, missing: Missing) -> Option<usize> {
        let other = aspects.iter().position(|aspect| aspect.missing == missing)?;
        let (of_other, of_present) = (self.seen(&aspects[other]), self.seen(&aspects[present]));
        (of_present > 2 * of_other + SLACK).then_some(other)
    }

    /// Files a query by an aspect: under one label of each way, the one that was seen least. Returns these labels.
    pub(super) fn file(&mut self, key: K, aspect: &Aspect) -> Vec<Label> {
        let mut labels: Vec<Label> = aspect
            .ways
            .iter()
            .filter_map(|way| way.iter().copied().min_by_key(|label| self.seen_label(*label)))
            .collect();
        labels.sort_unstable();
        labels.dedup();
        for label in &labels {
            if let Some(place) = self.places.get_mut(label) {
                place.filed.push(key);
            }
        }
        labels
    }

    pub(super) fn unfile(&mut self, key: K, labels: &[Label]) {
        for label in labels {
            if let Some(place) = self.places.get_mut(label) {
                place.filed.retain(|other| *other != key);
            }
        }
    }

    /// Returns the queries that are filed under any label of an item, some more than once. Counts the labels.
    pub(super) fn look_up(&mut self, item: &Item, terms: &ItemTerms) -> Vec<K> {
        let mut labels: Vec<Label> = terms.iter().map(|term| self.word(term)).collect();
        for term in terms.iter() {
            let lengths = self.lengths.range(..=term.len()).map(|(length, _)| *length);
            labels.extend(lengths.filter_map(|length| Some(self.beginning(term.get(..length)?))));
        }
        labels.push(self.seller(item.seller));
        labels.extend(with_ancestors(&item.category).map(|path| self.category(path)));
        // Different words may begin in the same way.
        labels.sort_unstable();
        labels.dedup();
        let mut found = Vec::new();
        for label in labels {
            if let Some(place) = self.places.get_mut(&label) {
                place.seen += 1;
                found.extend_from_slice(&place.filed);
            }
        }
        found
    }

    /// Returns whether nothing is noted.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty() && self.lengths.is_empty()
    }

    fn aspects(&self, conditions: &Conditions) -> Vec<Aspect> {
        let Conditions { words, category, seller, .. } = conditions;
        let words = words.iter().enumerate().map(|(number, word)| self.aspect(number, word));
        let seller = seller.map(|seller| Aspect {
            ways: vec![vec![self.seller(seller)]],
            likely: (1, Reverse(0)),
            missing: Missing::Seller,
        });
        let category = category.as_ref().map(|category: &Category| Aspect {
            ways: vec![vec![self.category(category.as_str())]],
            likely: (3, Reverse(category.as_str().len())),
            missing: Missing::Category,
        });
        words.chain(seller).chain(category).collect()
    }

    fn aspect(&self, number: usize, word: &Asked) -> Aspect {
        let Asked { ways, beginning } = word;
        // A way without terms would be met by every item, and filed nowhere.
        let ways = ways.iter().map(|way| way.iter().map(|term| self.word(term)).collect::<Vec<_>>());
        let beginnings = beginning.iter().map(|beginning| vec![self.beginning(beginning)]);
        let longest = word.ways.iter().flatten().chain(&word.beginning).map(String::len).max();
        Aspect {
            ways: ways.chain(beginnings).collect(),
            likely: (if beginning.is_some() { 2 } else { 0 }, Reverse(longest.unwrap_or(0))),
            missing: Missing::Word(number),
        }
    }

    /// Returns at most how many items had an aspect.
    fn seen(&self, aspect: &Aspect) -> u64 {
        let of_way = |way: &Vec<Label>| way.iter().map(|label| self.seen_label(*label)).min();
        aspect.ways.iter().filter_map(of_way).sum()
    }

    fn seen_label(&self, label: Label) -> u64 {
        self.places.get(&label).map_or(0, |place| place.seen)
    }

    fn word(&self, term: &str) -> Label {
        self.hasher.hash_one((0_u8, term))
    }

    fn beginning(&self, beginning: &str) -> Label {
        self.hasher.hash_one((1_u8, beginning))
    }

    fn seller(&self, seller: PartyId) -> Label {
        self.hasher.hash_one((2_u8, seller))
    }

    fn category(&self, path: &str) -> Label {
        self.hasher.hash_one((3_u8, path))
    }
}

impl Aspect {
    fn labels(&self) -> impl Iterator<Item = Label> {
        self.ways.iter().flatten().copied()
    }
}
