//! What all queries do with rows.

use tokio_postgres::Row;

use super::error::Failure;
use crate::StoreError;

/// How many rows to ask for.
pub(super) fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// All rows, read.
pub(super) fn all<T>(rows: &[Row], read: impl Fn(&Row) -> Result<T, Failure>) -> Result<Vec<T>, StoreError> {
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}
