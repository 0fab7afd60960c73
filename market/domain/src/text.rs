//! Texts that people write: names and descriptions, with their bounds.
//!
//! Surrounding white space is dropped and the rest is normalised to NFC (Unicode UAX #15), so that two
//! names that look the same are the same. Control characters are refused: such a name would reach other
//! people's terminals.

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

use super::Invalid;

/// More bytes than this are refused before anything looks at them; no accepted text is longer.
const BYTES_PER_CHARACTER_MAX: usize = 4;

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $least:literal to $most:literal, $lines:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The most characters (Unicode scalar values) it may have.
            pub const MAX_CHARS: usize = $most;

            /// Takes the text over, or says what is wrong with it.
            pub fn parse(text: &str) -> Result<Self, Invalid> {
                parse(text, $least, $most, Lines::$lines).map(Self)
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Takes back a text that was accepted before, such as one out of the store.
            pub fn trusted(text: String) -> Self {
                Self(text)
            }
        }
    };
}

text! {
    /// An item's name: one line of 1 to 200 characters.
    ItemName, 1 to 200, One
}
text! {
    /// A seller's own number of an item (stock keeping unit): one line of 1 to 64 characters.
    Sku, 1 to 64, One
}
text! {
    /// An item's description: up to 4,000 characters, line breaks allowed, may be empty.
    Description, 0 to 4000, Many
}
text! {
    /// A party's name as others see it: one line of 1 to 100 characters.
    DisplayName, 1 to 100, One
}
text! {
    /// The text of a test event: one line of up to 200 characters.
    TestText, 0 to 200, One
}

text! {
    /// Why a party is suspended: one line of 1 to 200 characters, for operators.
    SuspensionReason, 1 to 200, One
}

text! {
    /// What or who drives: one line of 1 to 100 characters.
    RideText, 1 to 100, One
}
text! {
    /// Why a seller cancels an order: one line of 1 to 200 characters, for the buyer.
    CancelReason, 1 to 200, One
}

#[derive(Clone, Copy, PartialEq)]
enum Lines {
    One,
    Many,
}

fn parse(text: &str, least: usize, most: usize, lines: Lines) -> Result<String, Invalid> {
    let text = text.trim();
    if text.len() > most * BYTES_PER_CHARACTER_MAX {
        return Err(too_long(most));
    }
    let allowed = |c: char| lines == Lines::Many && matches!(c, '\n' | '\t');
    if text.chars().any(|c| (c.is_control() && !allowed(c)) || is_bidi_override(c)) {
        return Err(Invalid::new("holds a control character; use plain text"));
    }
    let text: String = text.nfc().collect();
    let count = text.chars().count();
    if count > most {
        return Err(too_long(most));
    }
    if count < least {
        return Err(Invalid::new("is empty; give it some text"));
    }
    Ok(text)
}

fn too_long(most: usize) -> Invalid {
    Invalid::new(format!("is longer than {most} characters; shorten it"))
}

/// Characters that reorder the text around them and so can make a name read as another.
fn is_bidi_override(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
