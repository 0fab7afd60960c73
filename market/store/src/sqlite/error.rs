//! Classifies SQLite's errors: which pass without intervention, and which mean damage.

use std::path::Path;

use rusqlite::{Error, ErrorCode};

use crate::StoreError;

/// Converts into the store's error.
pub(super) fn unavailable(error: Error) -> StoreError {
    if is_damage(&error) { StoreError::corrupt(error) } else { StoreError::unavailable(error) }
}

/// Converts into the store's error with the file's name, for failures while opening it.
pub(super) fn named(path: &Path, error: &Error) -> StoreError {
    let path = path.display();
    if is_damage(error) {
        StoreError::corrupt(format!(
            "{path} is damaged or not a store of a market ({error}); restore it from a backup, or use another file"
        ))
    } else {
        StoreError::unavailable(format!("can't open {path}: {error}"))
    }
}

fn is_damage(error: &Error) -> bool {
    match error {
        Error::SqliteFailure(failure, _) => {
            matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        }
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::Utf8Error(..) => true,
        _ => false,
    }
}
