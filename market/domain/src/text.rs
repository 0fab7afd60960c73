//! Free text from users: names, descriptions and reasons, with their length limits. The characters of names are
//! restricted further ([`name`](super::name)).
//!
//! Surrounding white space is trimmed and the rest is normalised to NFC (Unicode UAX #15), so that two
//! encodings of the same name compare equal. Line breaks become LF, whatever system they come from. Control
//! characters are refused because the text is printed on other users' terminals.
//!
//! Copies of a text share it: a purchase copies its order's names several times.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

use super::{Invalid, name};

/// The longest UTF-8 encoding of a character. A text with more bytes than its limit times this is refused
/// before it is scanned.
const BYTES_PER_CHARACTER_MAX: usize = 4;

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $least:literal to $most:literal, $kind:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The maximum length in characters (Unicode scalar values), after trimming and normalisation.
            pub const MAX_CHARS: usize = $most;

            /// Parses a text, trimming and normalising it.
            ///
            /// # Errors
            ///
            /// Fails if the text is too long or too short, or contains a control character or, in a name, an
            /// invisible one.
            pub fn parse(text: &str) -> Result<Self, Invalid> {
                parse(text, $least, $most, Kind::$kind).map(Self::trusted)
            }

            /// Returns the text, trimmed and in NFC.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Wraps a text that was accepted before, such as one read from the store.
            pub fn trusted(text: String) -> Self {
                Self(text.into())
            }

            /// Does the same without a copy.
            pub fn shared(text: Arc<str>) -> Self {
                Self(text)
            }
        }
    };
}

text! {
    /// An item's name: one line of 1 to 200 characters.
    ItemName, 1 to 200, Name
}
text! {
    /// A seller's own number for an item (stock keeping unit): one line of 1 to 64 characters.
    Sku, 1 to 64, Line
}
text! {
    /// An item's description: up to 4,000 characters, line breaks allowed, may be empty.
    Description, 0 to 4000, Lines
}
text! {
    /// A party's public name: one line of 1 to 100 characters. Not parsed as a name, because a party keeps one from before
    /// names were restricted to visible characters; the rules check a new one.
    DisplayName, 1 to 100, Line
}
text! {
    /// The text of a test event: one line of up to 200 characters.
    TestText, 0 to 200, Line
}

text! {
    /// Why a party is suspended: one line of 1 to 200 characters, shown to operators.
    SuspensionReason, 1 to 200, Line
}

text! {
    /// A vehicle or driver of a ride: one line of 1 to 100 characters.
    RideText, 1 to 100, Name
}
text! {
    /// Why a seller cancels an order: one line of 1 to 200 characters, shown to the buyer.
    CancelReason, 1 to 200, Line
}

impl Default for Description {
    /// Returns the empty description.
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl DisplayName {
    /// Checks that a party may take this name.
    pub(super) fn check(&self) -> Result<(), Invalid> {
        name::check(&self.0)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// One line by which an item, a vehicle or a driver is known.
    Name,
    /// One line.
    Line,
    /// Any number of lines.
    Lines,
}

fn parse(text: &str, least: usize, most: usize, kind: Kind) -> Result<String, Invalid> {
    let text = text.trim();
    // A byte limit first, so that a huge text costs nothing more than this comparison.
    if text.len() > most * BYTES_PER_CHARACTER_MAX {
        return Err(too_long(most));
    }
    if kind != Kind::Lines && text.contains(['\n', '\r']) {
        return Err(Invalid::new("has a line break; write it on one line"));
    }
    let text = with_line_feeds(text);
    let allowed = |c: char| kind == Kind::Lines && matches!(c, '\n' | '\t');
    if text.chars().any(|c| (c.is_control() && !allowed(c)) || is_bidi_override(c)) {
        return Err(Invalid::new("holds a control character; use plain text"));
    }
    let text: String = text.nfc().collect();
    // Counted after normalisation, which can change the number of characters.
    let count = text.chars().count();
    if count > most {
        return Err(too_long(most));
    }
    if count < least {
        return Err(Invalid::new("is empty; give it some text"));
    }
    if kind == Kind::Name {
        name::check(&text)?;
    }
    Ok(text)
}

/// Returns the text with LF for each line break: spreadsheets and forms write CR LF.
fn with_line_feeds(text: &str) -> Cow<'_, str> {
    if text.contains('\r') {
        Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(text)
    }
}

fn too_long(most: usize) -> Invalid {
    Invalid::new(format!("is longer than {most} characters; shorten it"))
}

/// Returns whether `c` is a bidirectional control, which can make a name display as a different one.
fn is_bidi_override(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
