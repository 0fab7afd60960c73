//! Tokenization, shared by the index and the queries so that both split texts in the same way.

use std::collections::HashSet;

use tantivy::tokenizer::{AsciiFoldingFilter, LowerCaser, SimpleTokenizer, TextAnalyzer};
use unicode_normalization::UnicodeNormalization as _;

/// The name under which [`analyzer`] is registered with the index.
pub(super) const ANALYZER: &str = "souk-words";

/// Splits folded text into lower-case words, at everything that is not a letter or digit.
pub(super) fn analyzer() -> TextAnalyzer {
    TextAnalyzer::builder(SimpleTokenizer::default()).filter(LowerCaser).filter(AsciiFoldingFilter).build()
}

/// Removes accents that are combining marks, in every script, and resolves compatibility forms such as
/// full-width letters (NFKC, Unicode UAX #15). The analyzer's own folding knows only Latin letters, but also
/// those like ø that are not a letter with a mark.
pub(super) fn fold(text: &str) -> String {
    // ASCII has neither accents nor compatibility forms, and most texts are ASCII.
    if text.is_ascii() {
        return text.to_owned();
    }
    // Decompose, so that accents become characters that can be dropped; then compose what is left.
    text.nfkd().filter(|c| !is_accent(*c)).nfkc().collect()
}

/// Returns the words of a text in order, including repetitions.
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

/// Returns the first `limit` distinct words of a text.
pub(super) fn different_words(text: &str, limit: usize) -> Vec<String> {
    let mut seen = HashSet::new();
    words(text).into_iter().filter(|word| seen.insert(word.clone())).take(limit).collect()
}

/// Returns whether `c` is in the block "combining diacritical marks". Marks in other blocks, such as the
/// vowel signs of Indic scripts, are part of the spelling.
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
