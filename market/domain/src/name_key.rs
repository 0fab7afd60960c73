//! Which display names look alike. Those of two parties must differ visibly, not only in their encoding.

use serde::{Deserialize, Serialize};
use unicode_security::skeleton;

use super::DisplayName;

/// What display names that look alike have in common: a name belongs to one party, and so do all that have its key.
///
/// It is the skeleton of the name (UTS #39, section 4), ignoring case and repeated spaces. A capital I looks like a
/// lower-case l, so once case is ignored, i and l are the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NameKey(String);

impl NameKey {
    /// Returns the key of a name.
    pub fn of(name: &DisplayName) -> Self {
        let alike: String = skeleton(name.as_str()).collect();
        let words = alike.split_whitespace().collect::<Vec<_>>().join(" ");
        Self(words.to_lowercase().replace('i', "l"))
    }

    /// Returns the key as it is stored. It is not meant for display.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Wraps a key that was read from the store.
    pub fn trusted(key: String) -> Self {
        Self(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> NameKey {
        NameKey::of(&DisplayName::parse(name).unwrap())
    }

    #[test]
    fn names_that_look_alike_have_one_key() {
        // Cyrillic, digits, capitals, full width, another space, ligature-like pairs.
        for (one, other) in [
            ("Shop", "Ѕһор"),
            ("Alice", "AIice"),
            ("Alice", "ALICE"),
            ("Alice", "A1ice"),
            ("Bob's Shop", "Bob’s  Shop"),
            ("Shop", "Ｓｈｏｐ"),
            ("Shop 10", "Shop lO"),
            ("modern", "rnodern"),
            ("Café", "Cafe\u{301}"),
        ] {
            assert_eq!(key(one), key(other), "{one} {other}");
        }
    }

    #[test]
    fn names_that_differ_for_the_eye_have_different_keys() {
        for (one, other) in [
            ("Shop", "Shop 2"),
            ("Alice", "Alicia"),
            ("Cafe", "Café"),
            ("party 1", "party 10"),
            ("АБВ", "АБГ"),
        ] {
            assert_ne!(key(one), key(other), "{one} {other}");
        }
    }

    /// Keys are stored. If the tables of a new version give other keys, a migration has to compute them again.
    #[test]
    fn stored_keys_are_of_this_version_of_unicode() {
        assert_eq!(unicode_security::UNICODE_VERSION, (18, 0, 0));
    }
}
