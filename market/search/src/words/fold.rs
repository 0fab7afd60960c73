//! Folding of texts: different spellings of the same word become equal.

use std::borrow::Cow;

use unicode_normalization::{
    UnicodeNormalization as _,
    char::{decompose_canonical, is_combining_mark},
};

use super::{
    letters::{self, Folded},
    scripts,
};

/// The maximum number of letters of a word. Longer ones are cut, in texts as in queries, and so still match.
pub(super) const MAX_LETTERS: usize = 64;

/// Prepares a text for splitting: compatibility forms such as full-width letters are resolved (NFKC, Unicode UAX #15),
/// invisible characters removed, and digits and signs unified. Letters keep their case and accents.
pub(super) fn normalized(text: &str) -> Cow<'_, str> {
    // Most texts are ASCII, which has neither. A grave accent may be an apostrophe, but splits either way.
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut after_digit = false;
    let characters = text.chars().filter(|c| !letters::is_invisible(*c)).flat_map(move |c| {
        let c = letters::digit(c).unwrap_or_else(|| letters::sign(c));
        // Before normalization, which would make 71/2 of 7½.
        let gap = (after_digit && letters::is_fraction(c)).then_some(' ');
        after_digit = c.is_numeric();
        gap.into_iter().chain([c])
    });
    // Again, for what normalization resolves into signs and digits.
    Cow::Owned(characters.nfkc().map(letters::sign).collect())
}

/// Returns a word of normalized text in lower case, without accents, and with variants of letters unified.
pub(super) fn fold(word: &str) -> String {
    fold_up_to(word, MAX_LETTERS)
}

/// Like [`fold`], but cuts nothing. For text without spaces, which is split further.
pub(super) fn fold_all(text: &str) -> String {
    fold_up_to(text, usize::MAX)
}

fn fold_up_to(word: &str, limit: usize) -> String {
    if word.is_ascii() {
        let word = word.get(..limit).unwrap_or(word);
        if word.as_bytes().contains(&b',') {
            return word.replace(',', ".").to_ascii_lowercase();
        }
        return word.to_ascii_lowercase();
    }
    let mut folded = String::with_capacity(word.len());
    let mut letters = 0;
    for c in word.chars() {
        if letters == limit && !is_combining_mark(c) {
            break;
        }
        // Marks belong to the letter before.
        letters += usize::from(!is_combining_mark(c));
        if scripts::is_composed(c) {
            push(&mut folded, c);
            continue;
        }
        for lower in c.to_lowercase() {
            decompose_canonical(lower, |part| {
                if !letters::is_optional_mark(part) {
                    push(&mut folded, part);
                }
            });
        }
    }
    folded
}

fn push(folded: &mut String, c: char) {
    match letters::folded(c) {
        Folded::One(letter) => folded.push(letter),
        Folded::Many(several) => folded.push_str(several),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        fold(&normalized(text))
    }

    #[test]
    fn spellings_of_the_same_word_become_equal() {
        for (text, expected) in [
            ("Crème", "creme"),
            ("Cre\u{300}me", "creme"),
            ("BRÛLÉE", "brulee"),
            ("Ørsted", "orsted"),
            ("Straße", "strasse"),
            ("STRASSE", "strasse"),
            ("STRAẞE", "strasse"),
            ("Łódź", "lodz"),
            ("Œuvre", "oeuvre"),
            ("Đồng", "dong"),
            ("İzmir", "izmir"),
            ("ILIK", "ilik"),
            ("ılık", "ilik"),
            ("ﬁne", "fine"),
            ("ＡＢＣ１２", "abc12"),
            ("Καφές", "καφεσ"),
            ("ΚΑΦΈΣ", "καφεσ"),
            ("Ёлка", "елка"),
            ("Й", "и"),
            ("soft\u{ad}ware", "software"),
            ("co\u{200d}de\u{200c}s\u{2060}\u{feff}", "codes"),
            ("m²", "m2"),
            ("①", "1"),
        ] {
            assert_eq!(folded(text), expected, "{text}");
        }
    }

    #[test]
    fn points_and_variants_of_semitic_letters_are_folded() {
        for (pointed, plain) in [
            ("كِتَابٌ", "كتاب"),
            ("كـــتاب", "كتاب"),
            ("أحمد", "احمد"),
            ("إناء", "اناء"),
            ("آلة", "اله"),
            ("مقهى", "مقهي"),
            ("کتاب", "كتاب"),
            ("ﻛﺘﺎﺏ", "كتاب"),
            ("שָׁלוֹם", "שלומ"),
            ("שלום", "שלומ"),
            ("סֵפֶר", "ספר"),
        ] {
            assert_eq!(folded(pointed), plain, "{pointed}");
        }
    }

    #[test]
    fn marks_that_are_spelling_stay() {
        for text in ["हिन्दी", "தமிழ்", "ไทย"] {
            assert_eq!(folded(text), text, "{text}");
        }
        assert_eq!(folded("が"), "が", "not か");
        assert_eq!(folded("か\u{3099}"), "が");
        assert_eq!(folded("ｶﾞﾗｽ"), folded("ガラス"));
        assert_eq!(folded("ガラス"), "がらす");
        assert_eq!(folded("\u{1103}\u{1169}"), "도", "jamo are composed");
    }

    #[test]
    fn digits_fractions_and_signs_are_unified() {
        for (text, expected) in [
            ("٥٫٥", "5.5"),
            ("४५", "45"),
            ("７½", "7 1/2"),
            ("½", "1/2"),
            ("3⁄4", "3/4"),
            ("5×40", "5x40"),
            ("a‐b−c–d", "a-b-c-d"),
            ("l’eau l´eau", "l'eau l'eau"),
            ("Lego™", "Lego "),
            ("ＡＢ－１", "AB-1"),
        ] {
            assert_eq!(normalized(text), expected, "{text}");
        }
    }

    #[test]
    fn long_words_are_cut() {
        for (letter, expected) in [('y', MAX_LETTERS), ('é', MAX_LETTERS), ('도', MAX_LETTERS)] {
            let word: String = std::iter::repeat_n(letter, 200).collect();
            assert_eq!(fold(&word).chars().count(), expected, "{letter}");
        }
    }
}
