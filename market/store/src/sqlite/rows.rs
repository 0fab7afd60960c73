//! Conversion of limits, shared by all queries.

/// Converts a limit to the type of SQL's LIMIT.
pub(super) fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
