//! The terms of texts.

use super::{
    fold::{MAX_LETTERS, fold, fold_all, normalized},
    languages::Languages,
    parts, scripts,
    split::{Piece, pieces},
    terms::Indexed,
};

/// The maximum number of words that are joined to a single one, as in `AB-123-X`.
pub(super) const MAX_JOINED: usize = 8;

/// Returns the terms under which a name, description or sku is indexed.
pub(crate) fn indexed(text: &str, languages: &Languages) -> Indexed {
    /// About the length of a word with its space, in bytes.
    const WORD_BYTES: usize = 6;
    let text = normalized(text);
    let mut terms = Terms {
        typed: Vec::with_capacity(text.len() / WORD_BYTES + 1),
        also: Vec::new(),
        languages,
        first_joined: 0,
    };
    for piece in pieces(&text) {
        terms.add(piece);
    }
    terms.join();
    Indexed { typed: terms.typed, also: terms.also }
}

struct Terms<'a> {
    typed: Vec<String>,
    also: Vec<String>,
    languages: &'a Languages,
    /// The number of the first word of those that are joined with the last one.
    first_joined: usize,
}

impl Terms<'_> {
    fn add(&mut self, piece: Piece<'_>) {
        if !piece.is_joined {
            self.join();
            self.first_joined = self.typed.len();
        }
        if piece.is_unspaced {
            self.add_unspaced(&fold_all(piece.text));
            self.first_joined = self.typed.len();
            return;
        }
        let folded = fold(piece.text);
        if !parts::is_plain(&folded) {
            self.add_parts(&folded);
        }
        self.add_related(piece.text, &folded);
        if piece.is_joined
            && let Some(before) = self.typed.last()
        {
            let joined = [before, folded.as_str()].concat();
            self.add_joined(joined);
        }
        self.typed.push(folded);
    }

    /// Adds the joined form of all words that are joined with the last one. That of two was added with the second.
    fn join(&mut self) {
        let joined = self.typed.get(self.first_joined..).unwrap_or_default();
        if (3..=MAX_JOINED).contains(&joined.len()) {
            let joined = joined.concat();
            self.add_joined(joined);
        }
    }

    fn add_joined(&mut self, joined: String) {
        if joined.len() <= MAX_LETTERS {
            self.add_related(&joined, &joined);
            self.also.push(joined);
        }
    }

    fn add_unspaced(&mut self, folded: &str) {
        scripts::pairs(folded, |pair| self.typed.push(pair.to_owned()));
        // A single character is a word already.
        if folded.chars().nth(1).is_some() {
            scripts::han(folded, |character| self.also.push(character.to_owned()));
        }
    }

    fn add_parts(&mut self, folded: &str) {
        parts::parts(folded, |part| self.also.push(part.to_owned()));
        self.also.extend(parts::without_thousands(folded));
        scripts::hangul(folded, |part| self.also.push(part.to_owned()));
    }

    fn add_related(&mut self, word: &str, folded: &str) {
        if let Some(related) = self.languages.related(word, folded) {
            self.also.extend_from_slice(&related.terms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows the words of a text, and its further terms behind a bar. Stems begin with a `~`.
    fn terms(codes: &[&str], text: &str) -> String {
        let Indexed { typed, mut also } = indexed(text, &Languages::parse(codes).unwrap());
        also.sort_unstable();
        also.dedup();
        format!("{} | {}", typed.join(" "), also.join(" ").replace('\u{1}', "~")).trim_end().to_owned()
    }

    #[test]
    fn words_are_indexed_in_order_with_repetitions() {
        assert_eq!(terms(&[], "A red lamp, a RED one"), "a red lamp a red one |");
        assert_eq!(terms(&[], ""), " |");
        assert_eq!(terms(&[], "!!! 🏮"), " |");
    }

    #[test]
    fn joined_words_are_indexed_in_parts_and_whole() {
        for (text, expected) in [
            ("Wi-Fi", "wi fi | wifi"),
            ("wifi", "wifi |"),
            ("AB-123", "ab 123 | ab123"),
            ("AB123", "ab123 | 123 ab"),
            ("10 mm", "10 mm |"),
            ("10mm", "10mm | 10 mm"),
            ("5.5x40", "5.5x40 | 40 5.5 x"),
            ("5,5 x 40", "5.5 x 40 |"),
            ("KB-1180/US", "kb 1180 us | 1180us kb1180 kb1180us"),
            ("1,000 g", "1.000 g | 1000"),
            ("7½", "7 1/2 | 1 2"),
            ("C++ and .NET", "c++ and .net | c net"),
            ("Soft\u{ad}ware", "software |"),
            ("a-b-c-d-e-f-g-h-i", "a b c d e f g h i | ab bc cd de ef fg gh hi"),
        ] {
            assert_eq!(terms(&[], text), expected, "{text}");
        }
    }

    #[test]
    fn text_without_spaces_is_indexed_by_pairs() {
        for (text, expected) in [
            ("陶器の鉢", "陶器 器の の鉢 | 器 鉢 陶"),
            ("茶", "茶 |"),
            ("LED台灯", "led 台灯 | 台 灯"),
            ("マグカップ 赤", "まぐ ぐか かっ っぷ 赤 |"),
            ("ไทย", "ไท ทย |"),
        ] {
            assert_eq!(terms(&[], text), expected, "{text}");
        }
        let long = "器".repeat(MAX_LETTERS * 2);
        assert_eq!(indexed(&long, &Languages::default()).typed.len(), MAX_LETTERS * 2 - 1, "not cut");
    }

    #[test]
    fn hangul_is_indexed_by_words_and_pairs() {
        for (text, expected) in [
            ("도자기 찻잔", "도자기 찻잔 | 기 도자 자기 잔"),
            ("머그컵 2개", "머그컵 2개 | 2 개 그컵 머그 컵"),
            ("컵", "컵 |"),
        ] {
            assert_eq!(terms(&[], text), expected, "{text}");
        }
    }

    #[test]
    fn stems_are_indexed_if_they_differ_from_the_word() {
        assert_eq!(
            terms(&["en"], "watch watches knife knives"),
            "watch watches knife knives | ~knife ~watch"
        );
        assert_eq!(terms(&["en"], "T-Shirts"), "t shirts | ~shirt ~tshirt tshirts");
        assert_eq!(terms(&["en"], "10mm"), "10mm | 10 mm");
        assert_eq!(terms(&[], "watches"), "watches |");
    }

    #[test]
    fn german_compounds_are_indexed_by_their_parts() {
        assert_eq!(terms(&["de"], "Lederschuhe"), "lederschuhe | ~led ~lederschuh ~schuh leder schuh schuhe");
        assert_eq!(terms(&["en"], "Lederschuhe"), "lederschuhe | ~lederschuh");
    }
}
