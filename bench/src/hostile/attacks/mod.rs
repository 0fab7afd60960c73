//! The cases, by family.

mod admin;
mod calls;
mod frames;
mod handshakes;
mod parties;
mod reads;
mod streams;

use super::case::Case;

/// Returns all cases, in the order in which they run.
pub(super) fn all() -> Vec<Case> {
    [
        handshakes::CASES,
        frames::CASES,
        calls::CASES,
        reads::CASES,
        streams::CASES,
        parties::CASES,
        admin::CASES,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = all().iter().map(|case| case.name).collect();
        assert_eq!(names.len(), all().len());
    }
}
