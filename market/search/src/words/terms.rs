//! What a text is indexed under, and what a query asks for.

/// The first character of terms that are stems. No word contains it, so stems and words share one dictionary.
const STEM: char = '\u{1}';
/// The first character of terms that stand for two words side by side.
const PAIR: char = '\u{2}';
/// The first character of terms that stand for all words with the same beginning.
const BEGINNING: char = '\u{3}';

/// The terms under which a text is indexed.
///
/// All of them belong to the same text, so a term of `also` in a name counts as one in the name. Only what depends on
/// the order of words (side by side, the whole name, the length of a name) follows from `typed` alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Indexed {
    /// The words as typed, folded, in order, including repetitions. Text without spaces counts as its overlapping
    /// pairs of characters.
    pub(crate) typed: Vec<String>,
    /// Further terms, in any order: parts and joined forms of words, and stems (see [`stem`]).
    pub(crate) also: Vec<String>,
}

/// One word of a query. It matches a text if any of its ways does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The word as typed, folded.
    pub(crate) typed: String,
    /// The ways in which the word can match, best first. The first one is always the word as typed.
    pub(crate) ways: Vec<Way>,
    /// Whether the word may be the beginning of a longer one from the first phase on: clients search while their users
    /// type the last word.
    pub(crate) may_be_unfinished: bool,
}

/// A way in which a word of a query can match: it does if the text has all of its terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// The terms, at least one.
    pub(crate) terms: Vec<String>,
    /// When the way is tried.
    pub(crate) phase: Phase,
}

/// Returns the term of a stem.
pub(super) fn stem(stem: &str) -> String {
    with_prefix(STEM, stem, "")
}

/// Returns the term of two words that stand side by side in a text. It is the same for all words that make up the same
/// whole, so that `lunchbox` can be looked up without knowing where to split it.
///
/// No term of [`Indexed`] is one: whether and where pairs are indexed is up to the index. Ways of queries use them.
pub(crate) fn pair(first: &str, second: &str) -> String {
    with_prefix(PAIR, first, second)
}

/// Returns whether a term is one of two words side by side, which is looked up among the pairs.
pub(crate) fn is_pair(term: &str) -> bool {
    term.starts_with(PAIR)
}

/// Returns the term of all words that begin in the same way. Only ways of queries have it: no text is indexed under it.
pub(super) fn beginning(word: &str) -> String {
    with_prefix(BEGINNING, word, "")
}

/// Returns which beginning a term stands for; `None` if for none.
pub(crate) fn begins_with(term: &str) -> Option<&str> {
    term.strip_prefix(BEGINNING)
}

/// Returns whether a term is a word, or a part of one, rather than a stem.
pub(crate) fn is_word(term: &str) -> bool {
    !term.starts_with(char::is_control)
}

fn with_prefix(prefix: char, first: &str, second: &str) -> String {
    let mut term = String::with_capacity(1 + first.len() + second.len());
    term.push(prefix);
    term.push_str(first);
    term.push_str(second);
    term
}

/// When a way is tried. Everything but [`Phase::AsTyped`] is tried only if that finds too little, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Phase {
    /// At once: the word itself, or another inflection of it.
    AsTyped,
    /// Joined with its neighbour, split, or as the beginning of a longer word.
    Joined,
    /// Another word, which the operator declared to mean the same.
    Synonym,
}

impl Way {
    /// A way of one term.
    pub(super) fn of(term: impl Into<String>, phase: Phase) -> Self {
        Self { terms: vec![term.into()], phase }
    }
}
