//! Consumers: the programs of one party that each receive every event of its mailbox.

use std::fmt;

use super::Invalid;

/// The name of a consumer, unique among those of its mailbox: 1 to 64 characters from `a-z 0-9 . - _ @`.
///
/// A program should use the same name each time it runs, such as `seller@shop-1`, to continue where it stopped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerName(String);

impl ConsumerName {
    /// The maximum length in characters.
    pub const MAX_CHARS: usize = 64;

    /// Parses a name.
    ///
    /// # Errors
    ///
    /// Fails if the name is empty, too long, or has a character that is not allowed.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let is_good =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_' | b'@');
        if (1..=Self::MAX_CHARS).contains(&text.len()) && text.bytes().all(is_good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new(format!(
                "is not 1 to {} characters of a-z, 0-9, ., -, _ and @",
                Self::MAX_CHARS
            )))
        }
    }

    /// Returns the name as a string slice.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConsumerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_and_bounded() {
        let longest = "a".repeat(ConsumerName::MAX_CHARS);
        for good in ["a", "seller@shop-1.example_2", &longest] {
            assert_eq!(ConsumerName::parse(good).map(|name| name.to_string()).as_deref(), Ok(good));
        }
        for bad in ["", "Seller", "a b", "ä", "a/b", &format!("{longest}a")] {
            assert!(ConsumerName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
