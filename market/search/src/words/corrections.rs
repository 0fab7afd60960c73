//! What to suggest when only misspelt forms match.

use super::{
    fold::{fold, normalized},
    split::pieces,
};

/// Returns a query's text with some of its words replaced, for example by the words that were found instead. Each
/// correction is a folded word and its replacement.
pub(crate) fn corrected(text: &str, corrections: &[(String, String)]) -> String {
    let text = normalized(text);
    let mut result = String::with_capacity(text.len());
    let mut copied = 0;
    for piece in pieces(&text).filter(|piece| !piece.is_unspaced) {
        let folded = fold(piece.text);
        if let Some((_, replacement)) = corrections.iter().find(|(word, _)| *word == folded) {
            result.push_str(&text[copied..piece.start]);
            result.push_str(replacement);
            copied = piece.start + piece.text.len();
        }
    }
    result.push_str(&text[copied..]);
    result.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_words_are_replaced_and_the_rest_is_kept() {
        let corrections = [("lanp".to_owned(), "lamp".to_owned()), ("cremme".to_owned(), "creme".to_owned())];
        for (text, expected) in [
            ("red LANP", "red lamp"),
            ("  \"Lanp\" & lanp, 10 mm ", "\"lamp\" & lamp, 10 mm"),
            ("Crèmme-lanp", "creme-lamp"),
            ("lanps", "lanps"),
            ("", ""),
        ] {
            assert_eq!(corrected(text, &corrections), expected, "{text}");
        }
        assert_eq!(corrected("red lanp", &[]), "red lanp");
    }
}
