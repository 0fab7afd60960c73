//! Words of the index that differ from a query's word by typos.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use quick_cache::{Weighter, sync::Cache};
use tantivy::{
    Term,
    index::SegmentId,
    query::{DfaWrapper, FuzzyTermQuery},
};

use super::{
    Leniency,
    ask::{Ask, Degree, Word},
    effort::{Effort, Stop},
    schema::Fields,
    segment::{Segment, Snapshot},
    words,
};

/// The number of letters from which a word allows one typo, and from which it allows two.
const LETTERS_FOR_TYPOS: [usize; 2] = [4, 8];
/// How many of a query's words allow one typo, and how many two, the longest words first. Each word that does walks the
/// dictionary of every segment, so without a bound a single query could cost as much as thousands.
const MAX_FORGIVING_WORDS: [usize; 2] = [8, 4];
/// The maximum number of words that stand for a misspelt one at each number of typos. The most frequent ones count.
const MAX_NEAR_WORDS: usize = 64;
/// The maximum cost of searching a dictionary for near words, in postings. Below that, one for this many of its terms.
const MAX_WALK_COST: u64 = 20_000;
const WALK_SHARE: u64 = 4;
/// The cost of building the automaton of a word, in postings, for each letter and typo.
const LETTER_COST: u64 = 100;

/// The maximum size of what is kept, in bytes, and about how many entries that makes.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
const USUAL_ENTRIES: usize = 4_096;
/// The size of an entry without its words, and of a word without its letters, in bytes.
const ENTRY_BYTES: u64 = 160;
const WORD_BYTES: u64 = 32;

/// The near words of each segment, by number of typos and word. The dictionary of a segment never changes.
pub(super) struct NearWords(Cache<(SegmentId, u8, String), Near, Weigh>);

/// Words, each with the number of documents that have it.
type Near = Arc<[(String, u64)]>;

#[derive(Clone)]
struct Weigh;

impl<K> Weighter<K, Near> for Weigh {
    fn weight(&self, _: &K, words: &Near) -> u64 {
        ENTRY_BYTES + words.iter().map(|(word, _)| WORD_BYTES + word.len() as u64).sum::<u64>()
    }
}

impl Default for NearWords {
    fn default() -> Self {
        Self(Cache::with_weighter(USUAL_ENTRIES, MAX_BYTES, Weigh))
    }
}

/// Adds the words of the index that differ by so many typos to the ways in which items can have a query's words.
pub(super) fn forgive(
    ask: &mut Ask,
    leniency: Leniency,
    near: &NearWords,
    index: (&Snapshot, &Fields),
    effort: &mut Effort,
) -> Result<(), Stop> {
    let (number, typos) = match leniency {
        Leniency::OneTypo => (0, 1),
        Leniency::TwoTypos => (1, 2),
        _ => return Ok(()),
    };
    for word in forgiving(&ask.words.iter().map(|word| letters(&word.typed)).collect::<Vec<_>>(), number) {
        let word = &mut ask.words[word];
        for near in near.find(&word.typed, typos, index, effort)? {
            if !word.has(&near) {
                word.ways.push((leniency.degree(), vec![near]));
            }
        }
    }
    Ok(())
}

/// Returns which words of these numbers of letters allow so many more typos than one.
fn forgiving(letters: &[usize], more: usize) -> Vec<usize> {
    let mut longest: Vec<usize> = (0..letters.len()).collect();
    longest.retain(|word| letters[*word] >= LETTERS_FOR_TYPOS[more]);
    // Stable: among equal lengths, the words that come first.
    longest.sort_by_key(|word| Reverse(letters[*word]));
    longest.truncate(MAX_FORGIVING_WORDS[more]);
    longest
}

/// Returns the number of letters of a word as far as typos matter. With a digit in it, none is forgiven: another number
/// means another thing.
fn letters(word: &str) -> usize {
    if word.chars().any(char::is_numeric) { 0 } else { word.chars().count() }
}

impl NearWords {
    /// Finds the most frequent words that differ by at most this many typos. Two swapped letters count as one.
    fn find(
        &self,
        word: &str,
        typos: u8,
        (snapshot, fields): (&Snapshot, &Fields),
        effort: &mut Effort,
    ) -> Result<Vec<String>, Stop> {
        let mut automaton = None;
        let mut all: HashMap<String, u64> = HashMap::new();
        for segment in &snapshot.segments {
            let key = (segment.id, typos, word.to_owned());
            let found = match self.0.get(&key) {
                Some(kept) => kept,
                None => {
                    let automaton = match &automaton {
                        Some(made) => made,
                        None => automaton.insert(automaton_of(word, typos, fields, effort)?),
                    };
                    let found: Near = in_segment(segment, word, (typos, automaton), effort)?.into();
                    self.0.insert(key, Arc::clone(&found));
                    found
                }
            };
            for (term, count) in found.iter() {
                match all.get_mut(term) {
                    Some(sum) => *sum += count,
                    None => drop(all.insert(term.clone(), *count)),
                }
            }
        }
        let near = most_frequent(all.into_iter().collect(), MAX_NEAR_WORDS);
        Ok(near.into_iter().map(|(term, _)| term).collect())
    }
}

fn automaton_of(word: &str, typos: u8, fields: &Fields, effort: &mut Effort) -> Result<DfaWrapper, Stop> {
    effort.spend(LETTER_COST * word.len() as u64 * u64::from(typos))?;
    let term = Term::from_field_text(fields.words, word);
    Ok(FuzzyTermQuery::new(term, typos, true).automaton()?)
}

/// Finds the near words of a segment, each with the number of documents that have it.
fn in_segment(
    segment: &Segment,
    word: &str,
    (typos, automaton): (u8, &DfaWrapper),
    effort: &mut Effort,
) -> Result<Vec<(String, u64)>, Stop> {
    let first = word.chars().next();
    let dictionary = segment.postings.words.0.terms();
    effort.spend((dictionary.num_terms() as u64 / WALK_SHARE).min(MAX_WALK_COST))?;
    let mut terms = dictionary.search(automaton).into_stream()?;
    let mut found = Vec::new();
    while terms.advance() {
        let Ok(term) = std::str::from_utf8(terms.key()) else { continue };
        // With two typos and another first letter, it is another word more often than not.
        if words::is_word(term) && (typos < 2 || term.chars().next() == first) {
            found.push((term.to_owned(), terms.value().doc_freq.into()));
        }
    }
    // More than in the end, because a word may be frequent in all segments together.
    Ok(most_frequent(found, 4 * MAX_NEAR_WORDS))
}

fn most_frequent(mut words: Vec<(String, u64)>, most: usize) -> Vec<(String, u64)> {
    words.sort_unstable_by(|(a, count_a), (b, count_b)| count_b.cmp(count_a).then_with(|| a.cmp(b)));
    words.truncate(most);
    words
}

impl Word {
    fn has(&self, term: &str) -> bool {
        let is_way =
            |(of, terms): &(Degree, Vec<String>)| *of <= Leniency::OneTypo.degree() && *terms == [term];
        self.ways.iter().any(is_way)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_digits_allow_no_typos() {
        assert_eq!([letters("teacups"), letters("teacups2"), letters("84029")], [7, 0, 0]);
    }

    #[test]
    fn words_allow_typos_by_their_length() {
        assert_eq!(forgiving(&[3, 4, 0, 8, 9], 0), [4, 3, 1]);
        assert_eq!(forgiving(&[3, 7, 0, 8, 9], 1), [4, 3]);
    }

    /// Each word that allows typos costs a walk of every dictionary.
    #[test]
    fn only_the_longest_words_of_a_query_allow_typos() {
        let letters: Vec<usize> = (10..26).collect();
        assert_eq!(forgiving(&letters, 0), [15, 14, 13, 12, 11, 10, 9, 8]);
        assert_eq!(forgiving(&letters, 1), [15, 14, 13, 12]);
    }
}
