//! Folding of single characters: what counts as the same letter, digit or sign.

/// Returns whether a character is invisible inside a word: it only says where a line may break, how letters join or
/// which way they run. The Arabic tatweel is visible, but only stretches a word.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{640}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{e0100}'..='\u{e01ef}')
}

/// Returns the sign that stands for a character in splitting: one of each kind of hyphen, apostrophe and so on.
pub(super) fn sign(c: char) -> char {
    match c {
        // Hyphens, the minus, the dash of ranges and the Hebrew maqaf. Longer dashes separate.
        '\u{2010}'..='\u{2013}' | '\u{2212}' | '\u{58a}' | '\u{5be}' | '\u{fe63}' | '\u{ff0d}' => '-',
        // Apostrophes, also those that are typed as an accent, and the Hebrew geresh.
        '\u{b4}' | '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2032}' | '\u{2bb}' | '\u{2bc}' | '\u{5f3}'
        | '\u{ff07}' => '\'',
        '\u{2044}' | '\u{2215}' => '/',
        '\u{66b}' => '.',
        '\u{66c}' => ',',
        '×' => 'x',
        // Otherwise they would become letters at the end of a name.
        '\u{2120}' | '\u{2122}' => ' ',
        _ => c,
    }
}

/// Returns whether a character is a fraction such as ½.
pub(super) fn is_fraction(c: char) -> bool {
    matches!(c, '\u{bc}'..='\u{be}' | '\u{2150}'..='\u{215e}' | '\u{2189}')
}

/// Returns the value of a decimal digit of any script.
pub(super) fn digit(c: char) -> Option<char> {
    /// The zeros of the scripts' digits, which each follow in order (Unicode, general category Nd). Forms such as the
    /// full-width ones are resolved by normalization.
    const ZEROS: [u32; 36] = [
        0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50,
        0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40,
        0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0x1e950,
    ];
    let place = ZEROS.partition_point(|zero| *zero <= u32::from(c));
    let zero = place.checked_sub(1).and_then(|before| ZEROS.get(before))?;
    char::from_digit(u32::from(c) - zero, 10)
}

/// Returns whether a mark may be left out in writing: accents, and the points of Arabic, Hebrew and Syriac. Marks of
/// other scripts, such as the vowel signs of Indic ones, are part of the spelling.
pub(super) fn is_optional_mark(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{487}' | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}' | '\u{5c2}'
        | '\u{5c4}' | '\u{5c5}' | '\u{5c7}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{670}'
        | '\u{6d6}'..='\u{6dc}' | '\u{6df}'..='\u{6e4}' | '\u{6e7}' | '\u{6e8}' | '\u{6ea}'..='\u{6ed}' | '\u{711}'
        | '\u{730}'..='\u{74a}' | '\u{8ca}'..='\u{8e1}' | '\u{8e3}'..='\u{8ff}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// What a letter is folded to.
pub(super) enum Folded {
    /// One letter.
    One(char),
    /// Several letters.
    Many(&'static str),
}

/// Folds a lower-case letter that is not a letter with marks, but is often written as another.
pub(super) fn folded(c: char) -> Folded {
    Folded::One(match c {
        'ß' => return Folded::Many("ss"),
        'æ' => return Folded::Many("ae"),
        'œ' => return Folded::Many("oe"),
        'þ' => return Folded::Many("th"),
        'ƀ' | 'ɓ' => 'b',
        'ƈ' | 'ȼ' => 'c',
        'đ' | 'ð' | 'ɖ' | 'ɗ' => 'd',
        'ɛ' | 'ɇ' => 'e',
        'ə' => 'a',
        'ƒ' => 'f',
        'ǥ' | 'ɠ' => 'g',
        'ħ' => 'h',
        // The dotless i is a letter of Turkish, but other keyboards lack it.
        'ı' | 'ɨ' => 'i',
        'ĸ' | 'ƙ' => 'k',
        'ł' | 'ƚ' | 'ɫ' => 'l',
        'ŋ' | 'ɲ' | 'ƞ' => 'n',
        'ø' | 'ɔ' | 'ɵ' => 'o',
        'ƥ' => 'p',
        'ɍ' => 'r',
        'ŧ' | 'ƫ' | 'ƭ' | 'ʈ' => 't',
        'ʉ' => 'u',
        'ʋ' => 'v',
        'ƴ' | 'ɏ' => 'y',
        'ƶ' | 'ȥ' => 'z',
        'ς' => 'σ',
        // The decimal comma.
        ',' => '.',
        // The final letters of Hebrew.
        'ך' => 'כ',
        'ם' => 'מ',
        'ן' => 'נ',
        'ף' => 'פ',
        'ץ' => 'צ',
        // Variants of Arabic letters, also those of Persian and Urdu keyboards.
        '\u{671}' => '\u{627}',
        '\u{649}' | '\u{6cc}' | '\u{6d2}' => '\u{64a}',
        '\u{629}' | '\u{6be}' | '\u{6c1}' | '\u{6d5}' => '\u{647}',
        '\u{6a9}' => '\u{643}',
        // Katakana as hiragana: loanwords are written in either.
        '\u{30a1}'..='\u{30f6}' => return hiragana(c),
        _ => c,
    })
}

fn hiragana(katakana: char) -> Folded {
    Folded::One(char::from_u32(u32::from(katakana) - 0x60).unwrap_or(katakana))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_every_script_have_a_value() {
        for (digits, expected) in [
            ("٠١٢٣٤٥٦٧٨٩", "0123456789"),
            ("۴۵۶", "456"),
            ("०१२३४५६७८९", "0123456789"),
            ("০৯", "09"),
            ("๐๙", "09"),
            ("໐໙", "09"),
            ("០៩", "09"),
            ("၀၉", "09"),
            ("᥆᥏", "09"),
            ("꯰꯹", "09"),
        ] {
            let found: String = digits.chars().filter_map(digit).collect();
            assert_eq!(found, expected, "{digits}");
        }
        for c in "a五½Ⅷ०".chars().filter(|c| *c != '०') {
            assert_eq!(digit(c), None, "{c}");
        }
    }
}
