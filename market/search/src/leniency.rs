//! How far a search goes beyond what was typed.

use serde::{Deserialize, Serialize};

/// How far a search goes beyond the words as they were typed. Each step includes those before it, and is tried only if
/// the ones before find little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Leniency {
    /// Items have the words as typed, or words that begin with the last one.
    #[default]
    AsTyped,
    /// Words may be split or joined in another way.
    Joined,
    /// Synonyms count.
    Synonyms,
    /// One typo in a word is forgiven.
    OneTypo,
    /// Two typos in a long word are forgiven.
    TwoTypos,
    /// One of the words may be missing.
    AllButOne,
}

impl Leniency {
    /// All but the first.
    pub(super) const FURTHER: [Self; 5] =
        [Self::Joined, Self::Synonyms, Self::OneTypo, Self::TwoTypos, Self::AllButOne];
}
