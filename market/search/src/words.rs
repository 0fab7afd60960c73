//! Words: the same on both sides, in the index and in the query.

use std::collections::HashSet;

use tantivy::tokenizer::{AsciiFoldingFilter, LowerCaser, SimpleTokenizer, TextAnalyzer};
use unicode_normalization::UnicodeNormalization as _;

/// The name under which the index knows [`analyzer`].
pub(super) const ANALYZER: &str = "souk-words";

/// Cuts folded text into lower-case words at everything that is not a letter or digit.
pub(super) fn analyzer() -> TextAnalyzer {
    TextAnalyzer::builder(SimpleTokenizer::default()).filter(LowerCaser).filter(AsciiFoldingFilter).build()
}

/// Takes off the accents of every script that writes them as combining marks (the analyzer's own folding
/// only knows Latin letters, but also those like ø that are letters of their own), and resolves
/// compatibility forms such as full-width letters (NFKC, Unicode UAX #15).
pub(super) fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    text.nfkd().filter(|c| !is_accent(*c)).nfkc().collect()
}

/// The words of a text, in order, repetitions included.
pub(super) fn words(text: &str) -> Vec<String> {
    let folded = fold(text);
    let mut analyzer = analyzer();
    let mut tokens = analyzer.token_stream(&folded);
    let mut words = Vec::new();
    while tokens.advance() {
        words.push(tokens.token().text.clone());
    }
    words
}

/// The first `limit` different words of a text.
pub(super) fn different_words(text: &str, limit: usize) -> Vec<String> {
    let mut seen = HashSet::new();
    words(text).into_iter().filter(|word| seen.insert(word.clone())).take(limit).collect()
}

/// The block "combining diacritical marks". Marks elsewhere, such as the vowel signs of Indic scripts, are
/// part of the spelling.
fn is_accent(c: char) -> bool {
    matches!(c, '\u{0300}'..='\u{036f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_accents_are_ignored() {
        for (text, expected) in [
            ("Crème BRÛLÉE", "creme brulee"),
            ("Cre\u{300}me", "creme"),
            ("Ørsted Straße Łódź", "orsted strasse lodz"),
            ("Καφές", "καφες"),
            ("Ёлка", "елка"),
            ("İzmir", "izmir"),
            ("ﬁne ＡＢＣ", "fine abc"),
        ] {
            assert_eq!(words(text).join(" "), expected, "{text}");
        }
    }

    #[test]
    fn digits_and_short_codes_are_words() {
        assert_eq!(words("T-LIGHT 84029E, 7\" & a"), ["t", "light", "84029e", "7", "a"]);
        assert!(words(" -- !? \n").is_empty());
    }

    #[test]
    fn repeated_words_count_once_and_the_rest_is_bounded() {
        assert_eq!(different_words("a b A c d", 3), ["a", "b", "c"]);
    }
}
