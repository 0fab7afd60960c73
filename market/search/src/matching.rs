//! Translates a [`SearchQuery`] into an index query, with the scores of matches.
//!
//! The score of an item is the sum over the query's words of the best way in which the item matches each. It
//! is a whole number and depends on nothing but the item and the query (no word frequencies), and `f32` adds
//! whole numbers of this size exactly. So an item always has the same score, which keyset pagination relies
//! on.

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

/// The score of a word that matches as typed. It exceeds everything else that all words together can score,
/// so that items with fewer typos come first.
const AS_TYPED: Score = 1024.0;
/// The scores by field and by whole word or prefix.
const NAME_WORD: Score = AS_TYPED + 8.0;
const NAME_BEGINNING: Score = AS_TYPED + 6.0;
const DESCRIPTION_WORD: Score = AS_TYPED + 4.0;
const DESCRIPTION_BEGINNING: Score = AS_TYPED + 2.0;
/// The scores of a word that matches with one and with two typos.
const NAME_TYPOS: [Score; 2] = [4.0, 3.0];
const DESCRIPTION_TYPOS: [Score; 2] = [2.0, 1.0];
/// The bonus if the name contains all words next to each other and in order.
const PHRASE: Score = 16.0;

/// The highest score stays far below 2²⁴, up to which `f32` adds whole numbers exactly.
const _: () = assert!(SearchQuery::MAX_WORDS as Score * NAME_WORD + PHRASE < 1_048_576.0);
/// A match with one wrong word beats any match with two wrong words.
const _: () = assert!(SearchQuery::MAX_WORDS as Score * (NAME_WORD - AS_TYPED) + PHRASE < AS_TYPED);

/// The number of letters from which a word allows one typo, and from which it allows two.
const LETTERS_FOR_TYPOS: [usize; 2] = [4, 8];
/// Longer words allow no typos, because the Levenshtein automaton would become large.
const MAX_FORGIVING_LETTERS: usize = 24;
/// How many of a query's words allow one typo, and how many two, the longest words first. Each word that does walks the
/// dictionary of every segment, so without a bound a single query could cost as much as thousands.
const MAX_FORGIVING_WORDS: [usize; 2] = [8, 4];

/// A parsed query, which can be executed with or without forgiving typos.
pub(super) struct Matching<'a> {
    query: &'a SearchQuery,
    words: Vec<String>,
    /// The number of typos that each word allows.
    typos: Vec<u8>,
    fields: Fields,
}

impl<'a> Matching<'a> {
    pub(super) fn new(query: &'a SearchQuery, fields: Fields) -> Self {
        let words = words::different_words(query.text.as_str(), SearchQuery::MAX_WORDS);
        let typos = typos_forgiven(&words);
        Self { query, words, typos, fields }
    }

    /// Returns whether the query has words, rather than filters only.
    pub(super) fn has_words(&self) -> bool {
        !self.words.is_empty()
    }

    /// Returns whether forgiving typos could find more.
    pub(super) fn can_forgive(&self) -> bool {
        self.typos.iter().any(|typos| *typos > 0)
    }

    /// Builds the index query from all words and all filters.
    pub(super) fn query(&self, forgiving: bool) -> Box<dyn Query> {
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        for (number, (word, typos)) in self.words.iter().zip(&self.typos).enumerate() {
            let is_last = number + 1 == self.words.len();
            let typos = if forgiving { *typos } else { 0 };
            clauses.push((Occur::Must, self.word(word, is_last, typos)));
        }
        // Filters score 0, or they would change the order of the hits.
        clauses.extend(self.filters().into_iter().map(|filter| (Occur::Must, scored(filter, 0.0))));
        let hidden = hidden(&self.query.hidden_sellers, &self.fields);
        if clauses.is_empty() {
            match hidden {
                None => return Box::new(AllQuery),
                // A query of exclusions alone matches nothing; there must be a set to exclude from.
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

    /// Builds the query for one word. Of the ways in which it can match, the best one counts.
    fn word(&self, word: &str, is_last: bool, typos: u8) -> Box<dyn Query> {
        let Fields { name, description, .. } = self.fields;
        let mut ways = vec![whole(name, word, NAME_WORD), whole(description, word, DESCRIPTION_WORD)];
        // The last word may be unfinished, because clients search while the user types.
        if is_last {
            ways.push(beginning(name, word, NAME_BEGINNING));
            ways.push(beginning(description, word, DESCRIPTION_BEGINNING));
        }
        for typos in 1..=typos {
            let number = usize::from(typos) - 1;
            ways.push(with_typos(name, word, typos, NAME_TYPOS[number]));
            ways.push(with_typos(description, word, typos, DESCRIPTION_TYPOS[number]));
        }
        // The maximum, not the sum: a word in both name and description must not outrank a better match of all
        // words.
        Box::new(DisjunctionMaxQuery::new(ways))
    }

    fn filters(&self) -> Vec<Box<dyn Query>> {
        let SearchQuery { category, price: range, min_rating, seller, in_stock, .. } = self.query;
        let fields = &self.fields;
        let mut filters = Vec::new();
        filters.extend(category.as_ref().map(|category| exactly(fields.category_term(category))));
        if let Some(price) = range.any_end() {
            // Amounts of different currencies can't be compared, so a range always restricts the currency too.
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
        filters
    }
}

/// Builds the query for all items of the given sellers; `None` if there are none.
pub(super) fn hidden(sellers: &HashSet<PartyId>, fields: &Fields) -> Option<Box<dyn Query>> {
    if sellers.is_empty() {
        return None;
    }
    Some(Box::new(TermSetQuery::new(sellers.iter().map(|seller| fields.seller_term(*seller)))))
}

/// Returns how many typos each word allows. Of many words, the longest ones allow some: they have the fewest
/// neighbours, and a typo in them is the likeliest.
fn typos_forgiven(words: &[String]) -> Vec<u8> {
    let mut forgiven: Vec<u8> = words.iter().map(|word| typos_by_length(word)).collect();
    let mut longest_first: Vec<usize> = (0..words.len()).collect();
    // Stable: among equal lengths, the words that come first.
    longest_first.sort_by_key(|place| std::cmp::Reverse(words[*place].chars().count()));
    for (typos, most) in (0..).zip(MAX_FORGIVING_WORDS) {
        let allowing = longest_first.iter().filter(|place| forgiven[**place] > typos);
        for place in allowing.copied().skip(most).collect::<Vec<_>>() {
            forgiven[place] = typos;
        }
    }
    forgiven
}

/// Returns how many typos a word allows by itself. With a digit in it, none: another number means another thing.
fn typos_by_length(word: &str) -> u8 {
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

/// Matches a word with up to `typos` typos. Two swapped letters count as one.
fn with_typos(field: Field, word: &str, typos: u8, score: Score) -> Box<dyn Query> {
    scored(Box::new(FuzzyTermQuery::new(Term::from_field_text(field, word), typos, true)), score)
}

fn exactly(term: Term) -> Box<dyn Query> {
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}

fn scored(query: Box<dyn Query>, score: Score) -> Box<dyn Query> {
    Box::new(ConstScoreQuery::new(query, score))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forgiven(words: &[&str]) -> Vec<u8> {
        typos_forgiven(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn words_allow_typos_by_their_length() {
        let long = "x".repeat(MAX_FORGIVING_LETTERS);
        let too_long = format!("{long}x");
        assert_eq!(
            forgiven(&["cup", "cups", "teacups", "teacups2", "saucepan", &long, &too_long]),
            [0, 1, 1, 0, 2, 2, 0]
        );
    }

    /// Each word that allows typos costs a walk of every dictionary.
    #[test]
    fn only_the_longest_words_of_a_query_allow_typos() {
        let words: Vec<String> =
            (0..16).map(|number| "abcdefghijklmnopqrstuvwx"[number % 4..].to_owned()).collect();
        let forgiven = typos_forgiven(&words);
        assert_eq!(forgiven.iter().filter(|typos| **typos == 2).count(), MAX_FORGIVING_WORDS[1]);
        assert_eq!(forgiven.iter().filter(|typos| **typos > 0).count(), MAX_FORGIVING_WORDS[0]);
        assert_eq!((forgiven[0], forgiven[1], forgiven[3]), (2, 1, 0));
    }
}
