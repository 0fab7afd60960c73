//! Conversion of limits and rows, shared by all queries.

use souk_domain::{ItemId, PartyId};
use tokio_postgres::Row;
use uuid::Uuid;

use super::error::Failure;
use crate::StoreError;

/// Converts a limit to the type of SQL's LIMIT.
pub(super) fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Returns buyers and items as array columns.
pub(super) fn pairs(keys: impl Iterator<Item = (PartyId, ItemId)>) -> (Vec<Uuid>, Vec<i64>) {
    keys.map(|(buyer, item)| (buyer.0, item.0)).unzip()
}

/// Converts all rows, failing at the first that can't be read.
pub(super) fn all<T>(rows: &[Row], read: impl Fn(&Row) -> Result<T, Failure>) -> Result<Vec<T>, StoreError> {
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}
