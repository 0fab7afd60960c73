//! Classifies SQLite's errors: which pass without intervention, which mean a full disk, and which mean damage.

use std::path::Path;

use rusqlite::{Error, ErrorCode, ffi};

use crate::{SaveError, StoreError};

/// What kind of error SQLite reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// The disk did not take what was to be written, in general for want of space.
    Full,
    /// A sync failed. It is unknown what is on the disk, and syncing again proves nothing.
    SyncFailed,
    /// The file is damaged, or a value in it can't be read.
    Damage,
    /// A constraint rejected a row.
    Constraint,
    /// Anything else. It may pass without intervention.
    Other,
}

/// The only place that interprets SQLite's codes.
pub(super) fn classify(error: &Error) -> Class {
    match error {
        Error::SqliteFailure(failure, _) => match (failure.code, failure.extended_code) {
            // The VFS turns ENOSPC at a write into SQLITE_FULL, but other errors, among them that a disk quota is
            // used up, into SQLITE_IOERR_WRITE. All leave what was written before as it is; only a failed sync does
            // not. The `-shm` file grows by a byte written to each page, for the same reason.
            (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE) => {
                Class::Full
            }
            (_, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC) => Class::SyncFailed,
            (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => Class::Damage,
            (ErrorCode::ConstraintViolation, _) => Class::Constraint,
            _ => Class::Other,
        },
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::Utf8Error(..) => Class::Damage,
        _ => Class::Other,
    }
}

/// Converts into the store's error.
pub(super) fn unavailable(error: Error) -> StoreError {
    match classify(&error) {
        Class::Full => StoreError::Full(error.into()),
        Class::Damage => StoreError::corrupt(error),
        Class::Constraint => StoreError::Rejected(error.into()),
        Class::SyncFailed | Class::Other => StoreError::unavailable(error),
    }
}

/// Converts an error of COMMIT, which may leave it unknown whether the transaction took effect.
pub(super) fn at_commit(error: Error, is_over: bool) -> SaveError {
    // SQLite rolls back when a write fails, so the transaction is over in any case. Nothing was committed if it is
    // still open, or if a write failed: the frame that commits comes last, and it was not written whole. Not so if
    // the `-shm` file can't grow, because that happens after the frames have been written: a market that is killed
    // at this moment finds them when it starts again.
    let is_definite = !is_over || is_failed_write(&error);
    let error = unavailable(error);
    if is_definite { SaveError::Lost(error) } else { SaveError::Indefinite(error) }
}

fn is_failed_write(error: &Error) -> bool {
    matches!(
        error,
        Error::SqliteFailure(failure, _)
            if failure.code == ErrorCode::DiskFull || failure.extended_code == ffi::SQLITE_IOERR_WRITE
    )
}

/// Converts into the store's error with the file's name, for failures while opening it.
pub(super) fn named(path: &Path, error: &Error) -> StoreError {
    let path = path.display();
    if is_damage(error) {
        StoreError::corrupt(format!(
            "{path} is damaged or not a store of a market ({error}); restore it from a backup, or use another file"
        ))
    } else {
        StoreError::unavailable(format!(
            "can't open {path}: {error}; check its disk, and that the market's user may read and write it"
        ))
    }
}

fn is_damage(error: &Error) -> bool {
    classify(error) == Class::Damage
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: i32) -> Error {
        Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn codes_are_told_apart() {
        for (code, class) in [
            (ffi::SQLITE_FULL, Class::Full),
            (ffi::SQLITE_IOERR_SHMSIZE, Class::Full),
            (ffi::SQLITE_IOERR_FSYNC, Class::SyncFailed),
            (ffi::SQLITE_IOERR_DIR_FSYNC, Class::SyncFailed),
            (ffi::SQLITE_CORRUPT_INDEX, Class::Damage),
            (ffi::SQLITE_CONSTRAINT_UNIQUE, Class::Constraint),
            (ffi::SQLITE_IOERR_WRITE, Class::Full),
            (ffi::SQLITE_BUSY, Class::Other),
        ] {
            assert_eq!(classify(&error(code)), class, "{code}");
        }
    }

    #[test]
    fn only_a_commit_that_wrote_nothing_is_lost() {
        let full = at_commit(error(ffi::SQLITE_FULL), true);
        assert!(matches!(full, SaveError::Lost(StoreError::Full(_))), "{full}");
        let over_quota = at_commit(error(ffi::SQLITE_IOERR_WRITE), true);
        assert!(matches!(over_quota, SaveError::Lost(StoreError::Full(_))), "{over_quota}");
        // The frames of the commit are in the log already.
        let after = at_commit(error(ffi::SQLITE_IOERR_SHMSIZE), true);
        assert!(matches!(after, SaveError::Indefinite(StoreError::Full(_))), "{after}");
        let unsynced = at_commit(error(ffi::SQLITE_IOERR_FSYNC), true);
        assert!(matches!(unsynced, SaveError::Indefinite(StoreError::Unavailable(_))), "{unsynced}");
        let open = at_commit(error(ffi::SQLITE_BUSY), false);
        assert!(matches!(open, SaveError::Lost(StoreError::Unavailable(_))), "{open}");
    }
}
