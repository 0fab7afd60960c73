//! What all queries do with rows.

/// Returns how many rows to ask for.
pub(super) fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
