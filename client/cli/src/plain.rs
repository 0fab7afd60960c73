//! Escaping of untrusted text for terminals.

use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory as _};

/// The maximum number of combining marks in a row that are shown; more of them cover the lines above and below.
const MARKS_MAX: usize = 3;

/// Replaces invisible characters, and those that a terminal would interpret, by `\u{…}`. The market rejects names that
/// contain them, but a client need not rely on that.
pub fn plain(text: &str) -> String {
    escaped(text, |_| false)
}

/// Like [`plain`], for descriptions: keeps line breaks, and the joiners and variation selectors that emoji and some scripts
/// need. In a name they could imitate another name; a description identifies nothing.
pub fn prose(text: &str) -> String {
    escaped(text, |c| matches!(c, '\n' | '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}'))
}

fn escaped(text: &str, is_kept: fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut marks = 0;
    for c in text.chars() {
        marks = if is_mark(c) { marks + 1 } else { 0 };
        if (is_harmful(c) && !is_kept(c)) || marks > MARKS_MAX {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Returns whether a terminal interprets a character, or shows nothing for it: control and format characters, line
/// separators, and those that are ignorable by default (Unicode, `Default_Ignorable_Code_Point`).
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(
            c.general_category(),
            GeneralCategory::Format | GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator
        )
        || matches!(c,
            '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2065}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{e0000}'..='\u{e0fff}')
}

fn is_mark(c: char) -> bool {
    c.general_category_group() == GeneralCategoryGroup::Mark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(plain("Lamp \u{1b}[2J\u{7}"), "Lamp \\u{1b}[2J\\u{7}");
        assert_eq!(plain("Lampe à huile"), "Lampe à huile");
    }

    #[test]
    fn invisible_characters_are_escaped() {
        for c in ['\u{200b}', '\u{3164}', '\u{e0041}', '\u{202e}', '\u{2028}', '\u{ad}', '\u{fe0f}'] {
            assert_eq!(plain(&format!("Shop{c}")), format!("Shop{}", c.escape_unicode()));
        }
        assert_eq!(plain(&format!("o{}", "\u{301}".repeat(5))), "o\u{301}\u{301}\u{301}\\u{301}\\u{301}");
    }

    #[test]
    fn descriptions_keep_emoji_and_lines() {
        let family = "a family: \u{1f468}\u{200d}\u{1f469}\nand a \u{2764}\u{fe0f}";
        assert_eq!(prose(family), family);
        assert_eq!(prose("a\u{200b}b\r"), "a\\u{200b}b\\u{d}");
    }
}
