//! The names of contexts.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// The maximum length of a name, which is that of a party's name at the authority.
const MAX_NAME: usize = 63;

/// A context's name, which is that of its folder: lower-case letters, digits and inner hyphens, at most 63 characters.
/// The restricted alphabet keeps a name from being a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContextName(String);

impl ContextName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for ContextName {
    type Err = ContextNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_valid = (1..=MAX_NAME).contains(&text.len())
            && text.bytes().all(is_allowed)
            && !text.starts_with('-')
            && !text.ends_with('-');
        let shown = || text.chars().take(MAX_NAME).flat_map(char::escape_default).collect();
        if is_valid { Ok(Self(text.to_owned())) } else { Err(ContextNameError { name: shown() }) }
    }
}

/// The text is not a valid name of a context.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("'{name}' is not a name; use up to 63 lower-case letters, digits and inner hyphens")]
pub struct ContextNameError {
    /// The rejected text, escaped and truncated.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_paths() {
        for good in ["alice", "market-1", "a", "0", &"a".repeat(63)] {
            assert_eq!(good.parse::<ContextName>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "A", "a.b", "..", "a/b", "/", "a b", "é", "a\u{1b}", &"a".repeat(64)] {
            assert!(bad.parse::<ContextName>().is_err(), "{bad:?}");
        }
    }
}
