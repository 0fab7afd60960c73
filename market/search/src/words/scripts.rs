//! Scripts that are written without spaces between words, and Hangul, whose words are often compounds.
//!
//! Without a dictionary, such a text is split into overlapping pairs of characters: one that has all pairs of a query
//! nearly always has the query's word.

use unicode_normalization::char::is_combining_mark;

/// Returns whether a character belongs to a script without spaces: Chinese, Japanese, Thai, Lao, Burmese or Khmer.
pub(super) fn is_unspaced(c: char) -> bool {
    c >= '\u{e01}'
        && (is_han(c)
            || matches!(c,
                '\u{e01}'..='\u{e3a}' | '\u{e40}'..='\u{e4e}' | '\u{e81}'..='\u{ecf}' | '\u{edc}'..='\u{edf}'
                | '\u{1000}'..='\u{103f}' | '\u{1050}'..='\u{108f}' | '\u{109a}'..='\u{109f}'
                | '\u{1780}'..='\u{17d3}' | '\u{17d7}' | '\u{17dc}' | '\u{17dd}' | '\u{3041}'..='\u{309f}'
                | '\u{30a1}'..='\u{30fa}' | '\u{30fc}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}'
                | '\u{a9e0}'..='\u{a9ef}' | '\u{a9fa}'..='\u{a9fe}' | '\u{aa60}'..='\u{aa7f}'))
}

/// Returns whether a character is a Chinese one, which can be a word by itself.
pub(super) fn is_han(c: char) -> bool {
    matches!(c,
        '\u{3005}' | '\u{3007}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{323af}')
}

/// Returns whether a character is a syllable of Hangul.
pub(super) fn is_hangul(c: char) -> bool {
    matches!(c, '\u{ac00}'..='\u{d7a3}')
}

/// Returns whether a character stays composed in folding, because its parts are not marks that may be left out.
pub(super) fn is_composed(c: char) -> bool {
    is_hangul(c) || matches!(c, '\u{3041}'..='\u{30ff}') || is_han(c)
}

/// Calls `each` with the overlapping pairs of characters of a text, in order, or with the text if it is a single one.
/// Marks, and letters that are written below another, belong to the character before.
pub(super) fn pairs<'a>(text: &'a str, mut each: impl FnMut(&'a str)) {
    let mut starts = starts(text);
    let Some(mut first) = starts.next() else { return };
    let Some(mut second) = starts.next() else { return each(text) };
    for next in starts.chain([text.len()]) {
        each(&text[first..next]);
        (first, second) = (second, next);
    }
}

/// Calls `each` with every single Chinese character of a text.
pub(super) fn han(text: &str, mut each: impl FnMut(&str)) {
    for c in text.chars().filter(|c| is_han(*c)) {
        each(c.encode_utf8(&mut [0; 4]));
    }
}

/// Calls `each` with what the runs of Hangul in a word are also found by, each if it is longer: its overlapping pairs of
/// syllables, and the last one, which is often a word of its own, as in 머그컵 (mug cup).
pub(super) fn hangul<'a>(word: &'a str, mut each: impl FnMut(&'a str)) {
    for run in word.split(|c| !is_hangul(c)) {
        let Some((last, _)) = run.char_indices().next_back().filter(|(last, _)| *last > 0) else { continue };
        pairs(run, |pair| {
            if pair != word {
                each(pair);
            }
        });
        each(&run[last..]);
    }
}

/// Returns where the characters of a text start.
fn starts(text: &str) -> impl Iterator<Item = usize> {
    /// The signs of Khmer and Burmese that write the next consonant below.
    const STACKERS: [char; 2] = ['\u{17d2}', '\u{1039}'];
    let mut stacks = false;
    text.char_indices().filter_map(move |(start, c)| {
        let continues = std::mem::replace(&mut stacks, STACKERS.contains(&c)) || is_combining_mark(c);
        (start == 0 || !continues).then_some(start)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs_of(text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        pairs(text, |pair| found.push(pair));
        found
    }

    #[test]
    fn pairs_overlap() {
        assert_eq!(pairs_of("陶器の鉢"), ["陶器", "器の", "の鉢"]);
        assert_eq!(pairs_of("陶器"), ["陶器"]);
        assert_eq!(pairs_of("陶"), ["陶"]);
        assert_eq!(pairs_of(""), [""; 0]);
        assert_eq!(pairs_of("도자기"), ["도자", "자기"]);
    }

    #[test]
    fn marks_and_stacked_letters_stay_with_their_letter() {
        assert_eq!(pairs_of("เสื้อ"), ["เสื้", "สื้อ"]);
        assert_eq!(pairs_of("ខ្មែរ"), ["ខ្មែរ"]);
        assert_eq!(pairs_of("ကမ္ဘာ"), ["ကမ္ဘာ"]);
    }

    #[test]
    fn scripts_without_spaces_are_known() {
        for text in ["陶器", "ひらがなカタカナー々", "ไทย", "ລາວ", "ខ្មែរ", "မြန်မာ", "𠮷"]
        {
            assert!(text.chars().all(is_unspaced), "{text}");
        }
        for text in ["abc", "한국어", "हिन्दी", "עברית", "123", "・、。「」　", "é"]
        {
            assert!(!text.chars().any(is_unspaced), "{text}");
        }
    }

    #[test]
    fn hangul_is_found_by_pairs_and_its_last_syllable() {
        for (word, expected) in [
            ("도자기", &["도자", "자기", "기"][..]),
            ("머그", &["그"]),
            ("머그2", &["머그", "그"]),
            ("컵", &[]),
            ("usb컵2개월", &["개월", "월"]),
            ("cup", &[]),
        ] {
            let mut found = Vec::new();
            hangul(word, |part| found.push(part));
            assert_eq!(found, expected, "{word}");
        }
    }

    #[test]
    fn single_characters_are_chinese_ones() {
        let mut found = Vec::new();
        han("赤いカップ鉢", |character| found.push(character.to_owned()));
        assert_eq!(found, ["赤", "鉢"]);
    }
}
