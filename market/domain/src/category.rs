//! Item categories: paths of lower-case slugs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// A category path such as `electronics/audio`: 1 to 5 parts of 1 to 40 characters from `a-z 0-9 -`, none
/// starting or ending with `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Category(Arc<str>);

impl Category {
    /// The maximum number of parts in a path.
    pub const MAX_PARTS: usize = 5;
    /// The maximum length of a part in characters.
    pub const MAX_PART_CHARS: usize = 40;

    /// Parses a category path.
    ///
    /// # Errors
    ///
    /// Fails if the text is empty or not such a path.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid::new("is empty; write a category such as electronics/audio"));
        }
        let parts_ok = text.split('/').count() <= Self::MAX_PARTS && text.split('/').all(is_slug);
        if !parts_ok {
            return Err(Invalid::new(format!(
                "is not a lower-case path such as electronics/audio (1 to {} parts of 1 to {} characters a-z, 0-9, -)",
                Self::MAX_PARTS,
                Self::MAX_PART_CHARS
            )));
        }
        Ok(Self(text.into()))
    }

    /// Returns the whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Wraps a path that was accepted before, such as one read from the store.
    pub fn trusted(text: String) -> Self {
        Self(text.into())
    }

    /// Does the same without a copy.
    pub fn shared(text: Arc<str>) -> Self {
        Self(text)
    }
}

fn is_slug(part: &str) -> bool {
    (1..=Category::MAX_PART_CHARS).contains(&part.len())
        && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !part.starts_with('-')
        && !part.ends_with('-')
}
