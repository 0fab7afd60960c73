//! Parts of words that others write apart: number and unit, letters and digits, syllables of Hangul.

use super::scripts::is_hangul;

/// What a run of characters consists of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Hangul,
    Letters,
    /// A sign that belongs to the word as a whole.
    Sign,
}

/// Returns whether a folded word is certain to have no parts.
pub(super) fn is_plain(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// Calls `each` with the parts of a folded word, unless it is a single one: numbers, runs of letters and of Hangul.
pub(super) fn runs<'a>(word: &'a str, mut each: impl FnMut(&'a str)) {
    let mut start = 0;
    let mut kind = None;
    for (at, c) in word.char_indices() {
        let next = kind_of(c, kind);
        if let Some(before) = kind.replace(next)
            && before != next
        {
            if before != Kind::Sign {
                each(&word[start..at]);
            }
            start = at;
        }
    }
    if start > 0 && kind.is_some_and(|kind| kind != Kind::Sign) {
        each(&word[start..]);
    }
}

/// Calls `each` with everything under which a folded word is found besides itself: its runs, and what is between
/// slashes, with its runs.
pub(super) fn parts<'a>(word: &'a str, mut each: impl FnMut(&'a str)) {
    runs(word, &mut each);
    if word.contains('/') {
        for part in word.split('/') {
            each(part);
            runs(part, &mut each);
        }
    }
}

/// Returns a number without the signs between its thousands, as 12500 for 12.500, if it may have such signs.
pub(super) fn without_thousands(number: &str) -> Option<String> {
    let mut groups = number.split('.');
    let first = groups.next()?;
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_grouped = (1..=3).contains(&first.len())
        && number.contains('.')
        && is_digits(first)
        && groups.all(|group| group.len() == 3 && is_digits(group));
    is_grouped.then(|| number.replace('.', ""))
}

fn kind_of(c: char, before: Option<Kind>) -> Kind {
    match c {
        '0'..='9' => Kind::Number,
        // Only digits have these between them.
        '.' | '/' if before == Some(Kind::Number) => Kind::Number,
        '.' | '/' | '+' | '#' => Kind::Sign,
        _ if is_hangul(c) => Kind::Hangul,
        _ => Kind::Letters,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts_of(word: &str) -> Vec<&str> {
        let mut found = Vec::new();
        parts(word, |part| found.push(part));
        found
    }

    #[test]
    fn numbers_letters_and_hangul_are_parts() {
        for (word, expected) in [
            ("lamp", &[][..]),
            ("84029", &[]),
            ("5.5", &[]),
            ("10mm", &["10", "mm"]),
            ("ab123", &["ab", "123"]),
            ("5.5x40", &["5.5", "x", "40"]),
            ("c++", &["c"]),
            (".net", &["net"]),
            ("usb케이블", &["usb", "케이블"]),
            ("머그컵2", &["머그컵", "2"]),
            ("1/2", &["1", "2"]),
            ("230/240v", &["230/240", "v", "230", "240v", "240", "v"]),
            ("καφεσ5", &["καφεσ", "5"]),
        ] {
            assert_eq!(parts_of(word), expected, "{word}");
            assert!(!is_plain(word) || expected.is_empty());
        }
    }

    #[test]
    fn thousands_may_be_written_without_signs() {
        for (number, expected) in [
            ("1.000", Some("1000")),
            ("12.500", Some("12500")),
            ("1.000.000", Some("1000000")),
            ("5.5", None),
            ("1000", None),
            ("1.0000", None),
            ("1234.567", None),
            ("1.000x2", None),
            (".net", None),
        ] {
            assert_eq!(without_thousands(number).as_deref(), expected, "{number}");
        }
    }
}
