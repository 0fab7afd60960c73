//! A search by a plain loop over all items, which the index must agree with.

use std::{cmp::Reverse, collections::BTreeMap};

use souk_domain::{Category, Item};

use crate::{
    Leniency, SearchOrder, SearchQuery, Wording,
    rank::rank,
    words::{self, Phase, Wanted},
};

/// What a search finds, in order.
#[derive(Debug, PartialEq)]
pub(super) struct Plain {
    pub(super) found: Vec<i64>,
    pub(super) leniency: Leniency,
    pub(super) as_typed: u64,
    /// The number of matches in each category, ordered by path.
    pub(super) categories: Vec<(Category, u64)>,
}

/// The words of an item.
struct ItemWords {
    /// The words of the name, in order.
    name: Vec<String>,
    sku: Vec<String>,
    /// All terms of the name.
    in_name: Vec<String>,
    /// All terms of all texts.
    anywhere: Vec<String>,
}

/// A match: how good it is, smaller first.
type Grade = (u8, u8);

pub(super) fn search<'a>(items: impl Iterator<Item = &'a Item>, query: &SearchQuery) -> Plain {
    let wanted = Wording::default().wanted(query.text.as_str());
    let finds_nothing = words::is_wordless(query.text.as_str());
    let passing: Vec<(&Item, ItemWords)> = items
        .filter(|item| !finds_nothing && passes(item, query))
        .map(|item| (item, ItemWords::of(item)))
        .collect();
    let matching = |leniency: Leniency| -> Vec<(Grade, &Item)> {
        let grade = |(item, words): &(&'a Item, ItemWords)| Some((words.grade(&wanted, leniency)?, *item));
        passing.iter().filter_map(grade).collect()
    };
    let mut found = matching(Leniency::AsTyped);
    let (as_typed, mut leniency) = (found.len() as u64, Leniency::AsTyped);
    let enough = if query.order == SearchOrder::Relevance { 10 } else { 1 };
    if !query.is_exact {
        for further in Leniency::FURTHER {
            if found.len() < enough {
                let more = matching(further);
                if more.len() > found.len() {
                    (found, leniency) = (more, further);
                }
            }
        }
    }
    let order = if wanted.is_empty() && query.order == SearchOrder::Relevance {
        SearchOrder::Newest
    } else {
        query.order
    };
    found.sort_by(|a, b| place(order, a).partial_cmp(&place(order, b)).unwrap());
    let mut categories = BTreeMap::new();
    for (_, item) in &found {
        *categories.entry(item.category.clone()).or_default() += 1;
    }
    let found = found.into_iter().map(|(_, item)| item.id.0).collect();
    Plain { found, leniency, as_typed, categories: categories.into_iter().collect() }
}

fn place(order: SearchOrder, (grade, item): &(Grade, &Item)) -> (Grade, String, f64, Reverse<u64>, i64) {
    let (price, number) = (item.unit_price.amount_minor() as f64, item.id.0);
    let currency = item.unit_price.currency_code().to_owned();
    let rank = rank(item, typed(item.name.as_str()).len());
    let none = ((0, 0), String::new());
    match order {
        SearchOrder::Relevance => (*grade, none.1, 0.0, Reverse(rank), 0),
        SearchOrder::PriceAscending => (none.0, currency, price, Reverse(0), number),
        SearchOrder::PriceDescending => (none.0, currency, -price, Reverse(0), number),
        SearchOrder::Rating => (none.0, none.1, -item.rating.mean().unwrap_or(0.0), Reverse(0), number),
        SearchOrder::Newest => (none.0, none.1, 0.0, Reverse(0), -number),
    }
}

fn passes(item: &Item, query: &SearchQuery) -> bool {
    let is_within = |category: &Category| {
        let below = item.category.as_str().strip_prefix(category.as_str());
        below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
    };
    query.category.as_ref().is_none_or(is_within)
        && query.price.contains(item.unit_price)
        && query.min_rating.is_none_or(|least| item.rating.mean().is_some_and(|mean| mean >= least))
        && query.seller.is_none_or(|seller| seller == item.seller)
        && !query.hidden_sellers.contains(&item.seller)
        && (!query.in_stock || item.quantity > 0)
}

impl ItemWords {
    fn of(item: &Item) -> Self {
        let indexed = |text: &str| {
            let terms = Wording::default().indexed(text);
            terms.typed.into_iter().chain(terms.also).collect::<Vec<_>>()
        };
        let (name, sku) = (item.name.as_str(), item.sku.as_ref().map_or("", |sku| sku.as_str()));
        let in_name = indexed(name);
        let anywhere = [in_name.clone(), indexed(sku), indexed(item.description.as_str())].concat();
        Self { name: typed(name), sku: typed(sku), in_name, anywhere }
    }

    /// Returns how well the item matches, if it does.
    fn grade(&self, wanted: &[Wanted], most: Leniency) -> Option<Grade> {
        if wanted.is_empty() {
            return Some((0, 0));
        }
        (0..=most as u8 + 1).find_map(|degree| Some((degree, self.form(wanted, degree)?)))
    }

    /// Returns where the item has the words, if it has them all at a degree: 0 as typed, 1 in another form or with the
    /// last one unfinished, 2 joined or split, 3 by synonyms, 4 and 5 with typos, 6 all words but one.
    fn form(&self, wanted: &[Wanted], degree: u8) -> Option<u8> {
        let held =
            |terms: &[String]| wanted.iter().filter(|word| self.has(terms, word, degree.min(5))).count();
        let (named, anywhere) = (held(&self.in_name), held(&self.anywhere));
        let needed = wanted.len() - usize::from(degree == 6 && wanted.len() > 1);
        if anywhere < needed {
            return None;
        }
        let is_whole = |words: &[String]| {
            let words = distinct(words);
            words.len() == wanted.len()
                && words.iter().zip(wanted).all(|(word, wanted)| *word == wanted.typed)
        };
        let is_side_by_side = |two: &[Wanted]| {
            let joined = [two[0].typed.as_str(), &two[1].typed].concat();
            self.name.windows(2).any(|named| named.concat() == joined)
        };
        Some(match degree {
            0 if is_whole(&self.name) || is_whole(&self.sku) => 0,
            0 if wanted.len() > 1 && named == wanted.len() && wanted.windows(2).all(is_side_by_side) => 1,
            _ if named == wanted.len() => 2,
            _ if named > 0 => 3,
            _ => 4,
        })
    }

    fn has(&self, terms: &[String], wanted: &Wanted, degree: u8) -> bool {
        let words = || terms.iter().filter(|term| words::is_word(term));
        let holds = |term: &String| match words::begins_with(term) {
            Some(beginning) => words().any(|word| word.starts_with(beginning)),
            None if words::is_pair(term) => {
                self.name.windows(2).any(|two| words::pair(&two[0], &two[1]) == *term)
            }
            None => terms.contains(term),
        };
        let is_due = |number: usize, phase: Phase| match phase {
            Phase::AsTyped => number == 0 || degree >= 1,
            Phase::Joined => degree >= 2,
            Phase::Synonym => degree >= 3,
        };
        wanted
            .ways
            .iter()
            .enumerate()
            .any(|(number, way)| is_due(number, way.phase) && way.terms.iter().all(holds))
            || words().any(|word| is_near(word, wanted, degree))
    }
}

/// Returns the words of a text, in order.
fn typed(text: &str) -> Vec<String> {
    Wording::default().indexed(text).typed
}

fn distinct(words: &[String]) -> Vec<String> {
    let mut distinct: Vec<String> = Vec::new();
    for word in words {
        if !distinct.contains(word) {
            distinct.push(word.clone());
        }
    }
    distinct
}

/// Returns whether a word counts as an unfinished or misspelt one.
fn is_near(word: &str, wanted: &Wanted, degree: u8) -> bool {
    let typed = &wanted.typed;
    let letters = if typed.chars().any(char::is_numeric) { 0 } else { typed.chars().count() };
    let distance = || distance(word, typed);
    (degree >= 1 && wanted.may_be_unfinished && word.starts_with(typed.as_str()))
        || (degree >= 4 && letters >= 4 && distance() <= 1)
        || (degree >= 5 && letters >= 8 && distance() <= 2 && word.chars().next() == typed.chars().next())
}

/// The number of letters to add, leave out, replace or swap with their neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = match (i, j) {
                (0, _) => j,
                (_, 0) => i,
                _ => {
                    let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1)
                }
            };
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                rows[i][j] = rows[i][j].min(rows[i - 2][j - 2] + 1);
            }
        }
    }
    rows[a.len()][b.len()]
}
