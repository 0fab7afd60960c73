//! The characters that a name may contain. Other parties recognise by it whom they deal with and what they buy, so none
//! of them may be invisible.

use unicode_normalization::char::is_combining_mark;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

use super::Invalid;

/// The maximum number of combining marks in a row. Written languages use up to three; more of them cover the lines above
/// and below.
const MARKS_MAX: usize = 3;

/// Checks the characters of a name, which is trimmed and in NFC.
///
/// # Errors
/// The name contains an invisible character, too many combining marks in a row or one without a letter, or nothing but
/// blank characters.
pub(super) fn check(name: &str) -> Result<(), Invalid> {
    let mut marks = None;
    for c in name.chars() {
        if is_invisible(c) {
            let code = u32::from(c);
            return Err(Invalid::new(format!("holds the invisible character U+{code:04X}; remove it")));
        }
        if !is_combining_mark(c) {
            marks = Some(0);
            continue;
        }
        let Some(marks) = &mut marks else {
            return Err(Invalid::new("begins with a combining mark; put a letter before it"));
        };
        *marks += 1;
        if *marks > MARKS_MAX {
            return Err(Invalid::new(format!(
                "has more than {MARKS_MAX} combining marks on a letter; remove some"
            )));
        }
    }
    // An empty name is refused for its length.
    if !name.is_empty() && name.chars().all(is_blank) {
        return Err(Invalid::new("is blank; give it some text"));
    }
    Ok(())
}

/// Returns whether a character is shown as nothing at all, or changes how others are shown: format characters (Cf), line and
/// paragraph separators, and those that are ignorable by default.
fn is_invisible(c: char) -> bool {
    use GeneralCategory::{Format, LineSeparator, ParagraphSeparator};
    matches!(c.general_category(), Format | LineSeparator | ParagraphSeparator) || is_default_ignorable(c)
}

/// Returns whether a character has the property `Default_Ignorable_Code_Point` (Unicode, DerivedCoreProperties.txt). It
/// covers whole blocks, including what is not assigned in them yet, so it has been the same since Unicode 9.
fn is_default_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Returns whether a character leaves an empty place.
fn is_blank(c: char) -> bool {
    // A braille pattern without dots, and a note without a head.
    c.is_whitespace() || matches!(c, '\u{2800}' | '\u{1d159}')
}

#[cfg(test)]
mod tests {
    use unicode_security::skeleton;

    use super::*;

    #[test]
    fn default_ignorable_characters_are_those_of_the_skeleton() {
        // The skeleton drops them, and nothing else.
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            let is_dropped = skeleton(c.encode_utf8(&mut [0; 4])).next().is_none();
            assert_eq!(is_default_ignorable(c), is_dropped, "U+{:04X}", u32::from(c));
        }
    }
}
