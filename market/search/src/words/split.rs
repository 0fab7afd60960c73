//! Splits normalized texts into words.
//!
//! A word is a run of letters, digits and marks of one kind of script. Some signs belong to it: the point and the slash
//! between digits (`5.5`, `1/2`), and what tells `C++`, `C#` and `.NET` from `C` and `NET`. Words that are written
//! together, as in `Wi-Fi`, are split but marked, because others write them without the sign.

use unicode_normalization::char::is_combining_mark;

use super::scripts::is_unspaced;

/// A word of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// The word as it stands in the text.
    pub(super) text: &'a str,
    /// Where it starts in the text, in bytes.
    pub(super) start: usize,
    /// Whether only a sign such as a hyphen separates it from the word before, or nothing.
    pub(super) is_joined: bool,
    /// Whether it is text without spaces between words.
    pub(super) is_unspaced: bool,
}

/// Returns the words of a normalized text, in order.
pub(super) fn pieces(text: &str) -> Pieces<'_> {
    Pieces { text, at: 0, joins: false }
}

/// The iterator of [`pieces`].
pub(super) struct Pieces<'a> {
    text: &'a str,
    /// Where the rest starts.
    at: usize,
    /// Whether the rest starts with a word that is joined with the one before.
    joins: bool,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let mut before = if self.joins { Some('-') } else { self.text[..self.at].chars().next_back() };
        let mut rest = self.text[self.at..].char_indices();
        let (offset, first) = rest.find(|(offset, c)| {
            let starts = c.is_alphanumeric() || self.is_dotted(self.at + offset, *c, before);
            before = Some(*c);
            starts
        })?;
        let start = self.at + offset;
        let is_unspaced = is_unspaced(first);
        let end = if is_unspaced { self.unspaced_end(start) } else { self.word_end(start) };
        let is_joined = std::mem::replace(&mut self.joins, false);
        self.at = end;
        if !is_unspaced {
            self.joins = self.skip_joint();
        }
        Some(Piece { text: &self.text[start..end], start, is_joined: is_joined && !is_unspaced, is_unspaced })
    }
}

impl Pieces<'_> {
    /// Returns whether a point begins a word such as `.NET`.
    fn is_dotted(&self, at: usize, c: char, before: Option<char>) -> bool {
        c == '.'
            && before.is_none_or(|before| before.is_whitespace() || matches!(before, '(' | '[' | '"' | '\''))
            && self.text[at + 1..].starts_with(|next: char| next.is_alphabetic() && !is_unspaced(next))
    }

    fn unspaced_end(&self, start: usize) -> usize {
        let rest = &self.text[start..];
        rest.find(|c| !is_unspaced(c) && !is_combining_mark(c)).map_or(self.text.len(), |end| start + end)
    }

    fn word_end(&self, start: usize) -> usize {
        let rest = &self.text[start..];
        let mut characters = rest.char_indices().peekable();
        // The point of a dotted word comes first, and its letter is known to follow.
        let mut last = characters.next().map_or(' ', |(_, first)| first);
        while let Some((offset, c)) = characters.next() {
            let next = characters.peek().map(|(_, next)| *next);
            let goes_on = continues_word(c)
                || matches!(c, '.' | ',' | '/')
                    && last.is_ascii_digit()
                    && next.is_some_and(|next| next.is_ascii_digit());
            if !goes_on {
                return start + offset + suffix(last, &rest[offset..]);
            }
            last = c;
        }
        self.text.len()
    }

    /// Skips a sign that joins the word before with the one that follows. Returns whether they are joined.
    fn skip_joint(&mut self) -> bool {
        let mut rest = self.text[self.at..].chars();
        let Some(sign) = rest.next() else { return false };
        if sign.is_alphanumeric() {
            return !is_unspaced(sign);
        }
        let Some(next) = rest.next().filter(|next| next.is_alphanumeric() && !is_unspaced(*next)) else {
            return false;
        };
        let joins = match sign {
            '-' | '/' | '\'' | '_' | '&' | '+' => true,
            // A point without a space may also end a sentence.
            '.' => {
                let before = self.text[..self.at].chars().next_back();
                !(next.is_uppercase() && before.is_some_and(char::is_lowercase))
            }
            _ => false,
        };
        if joins {
            self.at += sign.len_utf8();
        }
        joins
    }
}

fn continues_word(c: char) -> bool {
    // Ordered by cost: most characters are ASCII.
    c.is_ascii_alphanumeric()
        || !c.is_ascii() && (c.is_alphanumeric() || is_combining_mark(c)) && !is_unspaced(c)
}

/// Returns the length of the signs that belong to a word: `++`, `+` or `#` after a letter, unless a letter follows.
fn suffix(last: char, rest: &str) -> usize {
    let signs = match rest.as_bytes() {
        [b'+', b'+', ..] => 2,
        [b'+' | b'#', ..] => 1,
        _ => return 0,
    };
    let is_followed =
        rest[signs..].starts_with(|next: char| next.is_alphabetic() || matches!(next, '+' | '#'));
    if last.is_alphabetic() && !is_followed { signs } else { 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Shows the words of a text, with a `~` before joined ones and a `*` before those without spaces.
    fn split(text: &str) -> String {
        let show = |piece: Piece<'_>| {
            let mark = if piece.is_joined { "~" } else { "" };
            let script = if piece.is_unspaced { "*" } else { "" };
            format!("{mark}{script}{}", piece.text)
        };
        pieces(text).map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_are_split_at_signs_and_spaces() {
        for (text, expected) in [
            ("", ""),
            (" -- !? \n", ""),
            ("Oil lamp", "Oil lamp"),
            ("  red, (blue) & green.", "red blue green"),
            ("T-LIGHT 84029E, 7\" & a", "T ~LIGHT 84029E 7 a"),
            ("Wi-Fi", "Wi ~Fi"),
            ("AB-123/X_9", "AB ~123 ~X ~9"),
            ("men's H&M rock'n'roll", "men ~s H ~M rock ~n ~roll"),
            ("dogs' toys - a -b c- d", "dogs toys a b c d"),
            ("a--b", "a b"),
            ("Node.js clean.Then e.g.", "Node ~js clean Then e ~g"),
        ] {
            assert_eq!(split(text), expected, "{text}");
        }
    }

    #[test]
    fn signs_between_digits_belong_to_numbers() {
        for (text, expected) in [
            ("5.5x40", "5.5x40"),
            ("5,5 mm", "5,5 mm"),
            ("1/2 kg", "1/2 kg"),
            ("230/240V", "230/240V"),
            ("5. 6 /7", "5 6 7"),
            ("1,000.50", "1,000.50"),
            ("10mm", "10mm"),
            ("10-20", "10 ~20"),
        ] {
            assert_eq!(split(text), expected, "{text}");
        }
    }

    #[test]
    fn signs_that_tell_words_apart_stay() {
        for (text, expected) in [
            ("C++ C# F# .NET", "C++ C# F# .NET"),
            ("(C++, C#) \".NET\"", "C++ C# .NET"),
            ("C++11", "C++ ~11"),
            ("a+b 1+1 #1 #tag 16+", "a ~b 1 ~1 1 tag 16"),
            ("ASP.NET", "ASP ~NET"),
            ("...and so .5", "and so 5"),
            ("+ + # .", ""),
            ("a+++", "a"),
        ] {
            assert_eq!(split(text), expected, "{text}");
        }
    }

    #[test]
    fn scripts_without_spaces_are_kept_apart() {
        for (text, expected) in [
            ("陶器の鉢", "*陶器の鉢"),
            ("LED台灯", "LED *台灯"),
            ("Tシャツ", "T *シャツ"),
            ("包丁 17cm", "*包丁 17cm"),
            ("500ml保温杯", "500ml *保温杯"),
            ("赤・青", "*赤 *青"),
            ("เสื้อยืด 2 ตัว", "*เสื้อยืด 2 *ตัว"),
            ("हिन्दी", "हिन्दी"),
            ("머그컵", "머그컵"),
        ] {
            assert_eq!(split(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn all_letters_and_digits_are_in_one_word(text in "[a-cA-C0-9陶の도é +#.,/'&_-]{0,24}") {
            let mut last = 0;
            for piece in pieces(&text) {
                prop_assert_eq!(&text[piece.start..][..piece.text.len()], piece.text);
                let between = &text[last..piece.start];
                prop_assert!(!between.contains(char::is_alphanumeric), "{between:?} was skipped");
                prop_assert!(piece.text.contains(char::is_alphanumeric));
                last = piece.start + piece.text.len();
            }
            prop_assert!(!text[last..].contains(char::is_alphanumeric));
        }
    }
}
