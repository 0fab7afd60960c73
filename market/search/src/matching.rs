//! From a [`SearchQuery`] to a query of the index, and how well an item matches it.
//!
//! The score of an item is a whole number, the sum over the words of the best way in which the item holds
//! each. It takes nothing from the rest of the index (no word frequencies), and whole numbers of this size
//! add up exactly in any order, so that the same item always scores the same.

use std::{collections::HashSet, ops::Bound};

use souk_domain::PartyId;
use tantivy::{
    Score, Term,
    query::{
        AllQuery, BooleanQuery, ConstScoreQuery, DisjunctionMaxQuery, FuzzyTermQuery, Occur, PhraseQuery,
        Query, RangeQuery, TermQuery, TermSetQuery,
    },
    schema::{Field, IndexRecordOption},
};

use super::{SearchQuery, schema::Fields, words};

/// A word held as typed. More than all else together that words can score, so that an item which needs
/// less forgiveness comes first.
const AS_TYPED: Score = 1024.0;
/// On top of that, by where and how.
const NAME_WORD: Score = AS_TYPED + 8.0;
const NAME_BEGINNING: Score = AS_TYPED + 6.0;
const DESCRIPTION_WORD: Score = AS_TYPED + 4.0;
const DESCRIPTION_BEGINNING: Score = AS_TYPED + 2.0;
/// A word held with typos, by their number.
const NAME_TYPOS: [Score; 2] = [4.0, 3.0];
const DESCRIPTION_TYPOS: [Score; 2] = [2.0, 1.0];
/// All words side by side in the name, in their order.
const PHRASE: Score = 16.0;

/// The best that an item can score stays far below 2²⁴, up to where floats add whole numbers exactly.
const _: () = assert!(SearchQuery::MAX_WORDS as Score * NAME_WORD + PHRASE < 1_048_576.0);
/// Every word typed right but one beats any match with two wrong.
const _: () = assert!(SearchQuery::MAX_WORDS as Score * (NAME_WORD - AS_TYPED) + PHRASE < AS_TYPED);

/// A word with fewer letters forgives nothing; with fewer than the second number, one typo; else two.
const LETTERS_FOR_TYPOS: [usize; 2] = [4, 8];
/// Longer words forgive nothing: the tables for it would grow large.
const MAX_FORGIVING_LETTERS: usize = 40;

/// A query taken apart, to be put to the index with or without forgiving.
pub(super) struct Matching<'a> {
    query: &'a SearchQuery,
    words: Vec<String>,
    fields: Fields,
}

impl<'a> Matching<'a> {
    pub(super) fn new(query: &'a SearchQuery, fields: Fields) -> Self {
        let words = words::different_words(query.text.as_str(), SearchQuery::MAX_WORDS);
        Self { query, words, fields }
    }

    /// Whether there is anything to match but filters.
    pub(super) fn has_words(&self) -> bool {
        !self.words.is_empty()
    }

    /// Whether forgiving typos could find more.
    pub(super) fn can_forgive(&self) -> bool {
        self.words.iter().any(|word| typos_forgiven(word) > 0)
    }

    /// The query for the index: all words and all filters.
    pub(super) fn query(&self, forgiving: bool) -> Box<dyn Query> {
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        for (number, word) in self.words.iter().enumerate() {
            let is_last = number + 1 == self.words.len();
            clauses.push((Occur::Must, self.word(word, is_last, forgiving)));
        }
        clauses.extend(self.filters().into_iter().map(|filter| (Occur::Must, scored(filter, 0.0))));
        let hidden = hidden(&self.query.hidden_sellers, &self.fields);
        if clauses.is_empty() {
            match hidden {
                None => return Box::new(AllQuery),
                // Something has to be left over to take from.
                Some(_) => clauses.push((Occur::Must, scored(Box::new(AllQuery), 0.0))),
            }
        }
        clauses.extend(hidden.map(|hidden| (Occur::MustNot, hidden)));
        if self.words.len() > 1 {
            let terms = self.words.iter().map(|word| Term::from_field_text(self.fields.name, word)).collect();
            clauses.push((Occur::Should, scored(Box::new(PhraseQuery::new(terms)), PHRASE)));
        }
        Box::new(BooleanQuery::new(clauses))
    }

    /// The ways to hold one word; the best one counts.
    fn word(&self, word: &str, is_last: bool, forgiving: bool) -> Box<dyn Query> {
        let Fields { name, description, .. } = self.fields;
        let mut ways = vec![whole(name, word, NAME_WORD), whole(description, word, DESCRIPTION_WORD)];
        if is_last {
            ways.push(beginning(name, word, NAME_BEGINNING));
            ways.push(beginning(description, word, DESCRIPTION_BEGINNING));
        }
        if forgiving {
            for typos in 1..=typos_forgiven(word) {
                let number = usize::from(typos) - 1;
                ways.push(with_typos(name, word, typos, NAME_TYPOS[number]));
                ways.push(with_typos(description, word, typos, DESCRIPTION_TYPOS[number]));
            }
        }
        Box::new(DisjunctionMaxQuery::new(ways))
    }

    fn filters(&self) -> Vec<Box<dyn Query>> {
        let SearchQuery { category, price: range, min_rating, seller, in_stock, .. } = self.query;
        let fields = &self.fields;
        let mut filters = Vec::new();
        filters.extend(category.as_ref().map(|category| exactly(fields.category_term(category))));
        if let Some(price) = range.any_end() {
            filters.push(exactly(fields.currency_term(price)));
            let bound =
                |price: Option<_>| price.map_or(Bound::Unbounded, |p| Bound::Included(fields.price_term(p)));
            filters.push(Box::new(RangeQuery::new(bound(range.min()), bound(range.max()))));
        }
        if let Some(mean) = *min_rating {
            let lowest = Bound::Included(fields.rating_term(mean));
            filters.push(Box::new(RangeQuery::new(lowest, Bound::Unbounded)));
        }
        filters.extend(seller.map(|seller| exactly(fields.seller_term(seller))));
        filters.extend(in_stock.then(|| exactly(fields.in_stock_term())));
        if let Some(among) = &self.query.among {
            let terms = among.iter().map(|item| fields.item_term(item.0));
            filters.push(Box::new(TermSetQuery::new(terms)));
        }
        filters
    }
}

/// Everything of some sellers, unless there are none.
pub(super) fn hidden(sellers: &HashSet<PartyId>, fields: &Fields) -> Option<Box<dyn Query>> {
    if sellers.is_empty() {
        return None;
    }
    Some(Box::new(TermSetQuery::new(sellers.iter().map(|seller| fields.seller_term(*seller)))))
}

/// How many typos a word forgives.
fn typos_forgiven(word: &str) -> u8 {
    let letters = word.chars().count();
    if letters > MAX_FORGIVING_LETTERS || word.chars().any(char::is_numeric) {
        return 0;
    }
    LETTERS_FOR_TYPOS.iter().map(|least| u8::from(letters >= *least)).sum()
}

fn whole(field: Field, word: &str, score: Score) -> Box<dyn Query> {
    scored(exactly(Term::from_field_text(field, word)), score)
}

fn beginning(field: Field, word: &str, score: Score) -> Box<dyn Query> {
    scored(Box::new(FuzzyTermQuery::new_prefix(Term::from_field_text(field, word), 0, true)), score)
}

/// Two letters swapped count as one typo.
fn with_typos(field: Field, word: &str, typos: u8, score: Score) -> Box<dyn Query> {
    scored(Box::new(FuzzyTermQuery::new(Term::from_field_text(field, word), typos, true)), score)
}

fn exactly(term: Term) -> Box<dyn Query> {
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}

fn scored(query: Box<dyn Query>, score: Score) -> Box<dyn Query> {
    Box::new(ConstScoreQuery::new(query, score))
}
