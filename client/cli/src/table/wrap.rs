//! Breaks texts into lines.

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

/// Breaks a text into lines of at most this width, between words. A word that is wider than a line is broken as it
/// comes. If there are more lines than the limit, the text ends with an ellipsis after a whole word.
pub(crate) fn wrapped(text: &str, width: usize, limit: usize) -> Vec<String> {
    let mut lines: Vec<(String, bool)> = Vec::new();
    for paragraph in text.split('\n') {
        wrap_paragraph(paragraph, width.max(1), &mut lines);
    }
    let end = (limit.max(1) - 1..lines.len()).find(|&number| lines[number].1);
    if let Some(end) = end.filter(|end| end + 1 < lines.len()) {
        lines.truncate(end + 1);
        shorten(&mut lines, width);
    }
    lines.into_iter().map(|(line, _)| line).collect()
}

/// Adds the lines of a paragraph, each with whether it ends with a whole word.
fn wrap_paragraph(paragraph: &str, width: usize, lines: &mut Vec<(String, bool)>) {
    // Text that fits stays as it is, with all of its blanks.
    if paragraph.width() <= width {
        return lines.push((paragraph.to_owned(), true));
    }
    let mut line = String::new();
    for word in paragraph.split(' ').filter(|word| !word.is_empty()) {
        if !line.is_empty() && line.width() + 1 + word.width() <= width {
            line.push(' ');
            line.push_str(word);
            continue;
        }
        if !line.is_empty() {
            lines.push((std::mem::take(&mut line), true));
        }
        for part in word.graphemes(true) {
            if !line.is_empty() && line.width() + part.width() > width {
                lines.push((std::mem::take(&mut line), false));
            }
            line.push_str(part);
        }
    }
    lines.push((line, true));
}

/// Ends the last line with an ellipsis, in place of its last word if there is no room.
fn shorten(lines: &mut Vec<(String, bool)>, width: usize) {
    let Some((last, _)) = lines.last_mut() else { return };
    loop {
        if last.width() + 2 <= width {
            last.push_str(" …");
            return;
        }
        match last.rfind(' ') {
            Some(blank) => last.truncate(blank),
            // A single word as wide as the line: the ellipsis gets a line of its own.
            None => return lines.push(("…".to_owned(), true)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wide_characters_count_twice_and_joined_emoji_stay_together() {
        assert_eq!(wrapped("日本の陶器", 4, 9), ["日本", "の陶", "器"]);
        let family = "👨\u{200d}👩\u{200d}👧";
        assert_eq!(wrapped(&family.repeat(2), 2, 9), [family, family]);
    }

    #[test]
    fn long_words_are_continued_and_never_shortened_in_the_middle() {
        assert_eq!(wrapped("a0123456789b", 5, 2), ["a0123", "45678", "9b"]);
        assert_eq!(wrapped("a0123456789b and more", 5, 2), ["a0123", "45678", "9b …"]);
        assert_eq!(wrapped("one two three four", 9, 2), ["one two", "three …"]);
        assert_eq!(wrapped("one two threefour five", 9, 2), ["one two", "threefour", "…"]);
    }

    proptest! {
        #[test]
        fn every_width_is_kept_and_no_word_is_cut(text in "[a-zé日 ]{0,80}", width in 8..40_usize) {
            let lines = wrapped(&text, width, 2);
            for line in &lines {
                prop_assert!(line.width() <= width, "{line:?} is wider than {width}");
            }
            if let Some(shown) = lines.last().and_then(|line| line.strip_suffix('…')) {
                let words: Vec<_> = text.split_whitespace().collect();
                let whole = shown.split_whitespace().last().is_none_or(|last| {
                    words.contains(&last) || words.iter().any(|word| word.width() > width && word.ends_with(last))
                });
                prop_assert!(whole, "{lines:?}");
            }
        }
    }
}
