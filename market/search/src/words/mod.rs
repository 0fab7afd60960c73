//! Words: what a text is indexed under ([`Wording::indexed`]) and what a query asks for ([`Wording::wanted`]).
//!
//! Both are pure functions and share one way of splitting, so that they always agree: every text is found by itself. From
//! text to terms: *normalize* (`fold`, `letters`), *split* into words (`split`, `scripts`), *fold* each word, and add
//! *parts* (`parts`), *stems* and *compounds* (`languages`, `english`, `compounds`) and, for queries, *synonyms*.

mod compounds;
mod corrections;
mod english;
mod fold;
mod indexed;
mod languages;
mod letters;
mod parts;
mod scripts;
mod split;
mod synonyms;
mod terms;
#[cfg(test)]
mod tests;
mod wanted;
mod wording;

pub(crate) use corrections::corrected;
pub use languages::{Languages, UnknownLanguage};
pub use synonyms::{SynonymError, Synonyms};
pub(crate) use terms::{Indexed, Phase, Wanted, begins_with, is_pair, is_word, pair};
pub(crate) use wanted::{MAX_WORDS, is_wordless};
pub use wording::Wording;
