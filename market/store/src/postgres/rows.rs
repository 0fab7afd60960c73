//! Conversion of limits and rows, shared by all queries.

use tokio_postgres::Row;

use super::error::Failure;
use crate::StoreError;

/// Converts a limit to the type of SQL's LIMIT.
pub(super) fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Converts all rows, failing at the first that can't be read.
pub(super) fn all<T>(rows: &[Row], read: impl Fn(&Row) -> Result<T, Failure>) -> Result<Vec<T>, StoreError> {
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}
