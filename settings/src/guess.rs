//! Guesses at what a mistyped word was meant to be.

/// A guess may differ from the word by one character per this many characters of the word, rounded up.
const CHARS_PER_EDIT: usize = 4;

/// Returns the candidate that is closest to a mistyped word; `None` if none is close. Case does not matter, and `_` is the
/// same as `-`.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = |text: &str| text.to_lowercase().replace('_', "-");
    let word = folded(word);
    let limit = word.chars().count().div_ceil(CHARS_PER_EDIT);
    let distances = candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &folded(candidate)), candidate));
    let nearest = distances.min_by_key(|(distance, _)| *distance)?;
    (nearest.0 <= limit).then_some(nearest.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_mistakes_are_guessed_and_other_words_are_not() {
        let keys = ["market", "cert", "crl", "no-color", "timeout"];
        for (typed, meant) in
            [("markt", "market"), ("crt", "cert"), ("no_color", "no-color"), ("Timeout", "timeout")]
        {
            assert_eq!(closest(typed, keys), Some(meant), "{typed}");
        }
        for typed in ["colour", "x", "address"] {
            assert_eq!(closest(typed, keys), None, "{typed}");
        }
        assert_eq!(closest("a", []), None);
    }
}
