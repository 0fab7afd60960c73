//! Opening a store only for reading: beside a market, or a copy on media that can't be written.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::{Access, access};

use super::{connect_read_only, database_file::companion, migrate::SchemaProblem, schema};
use crate::StoreError;

/// What a file is checked for when it is opened.
type Check = fn(&Connection) -> Result<(), SchemaProblem>;

/// Why a file can't be opened for reading.
pub(super) enum Unopened {
    Problem(SchemaProblem),
    /// There is no file that can be read; this says why, and what to do.
    NoFile(String),
    /// Part of it is in a log that can't be read.
    Log {
        log: PathBuf,
        cause: rusqlite::Error,
    },
}

impl Unopened {
    pub(super) fn at(self, path: &Path) -> StoreError {
        match self {
            Self::Problem(problem) => problem.at(path),
            Self::NoFile(problem) => StoreError::unavailable(problem),
            Self::Log { log, cause } => StoreError::unavailable(format!(
                "can't read {} without write access to its folder, because part of it is still in {} ({cause}); copy both files into a folder of your own and name the copy",
                path.display(),
                log.display(),
            )),
        }
    }
}

/// Opens a file for reading and checks that its schema is up to date.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    attempt(path).map_err(|unopened| unopened.at(path))
}

/// Does the same, and distinguishes why it fails.
pub(super) fn attempt(path: &Path) -> Result<Connection, Unopened> {
    open_checked(path, schema::check)
}

/// Opens a file for reading and checks that it is a market's, maybe an older one's.
pub(super) fn open_known(path: &Path) -> Result<Connection, StoreError> {
    open_checked(path, schema::known).map_err(|unopened| unopened.at(path))
}

fn open_checked(path: &Path, check: Check) -> Result<Connection, Unopened> {
    // SQLite's own words for these are "unable to open database file" and "disk I/O error".
    if let Some(problem) = no_file(path) {
        return Err(Unopened::NoFile(problem));
    }
    let cause = match connect_read_only(path, OpenFlags::empty()).and_then(checked(check)) {
        Ok(connection) => return Ok(connection),
        Err(SchemaProblem::Sqlite(error)) if needs_writing(&error) => error,
        Err(problem) => return Err(Unopened::Problem(problem)),
    };
    // SQLite shares its log through a file that it has to create, also for readers. Not tried first: beside a
    // market that is just starting, a reader without the log would read garbage.
    match Log::of(path) {
        Log::Unreadable(log) => Err(Unopened::Log { log, cause }),
        Log::Missing => {
            let flags = OpenFlags::SQLITE_OPEN_URI;
            connect_read_only(&immutable(path), flags).and_then(checked(check)).map_err(Unopened::Problem)
        }
    }
}

/// Returns why a path does not lead to a file that can be read; `None` if it does.
///
/// Without opening it: closing a descriptor of a database drops the POSIX locks that SQLite has in this process.
fn no_file(path: &Path) -> Option<String> {
    let shown = path.display();
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(format!(
            "{shown} does not exist; check the path, which is relative to the working directory"
        )),
        Err(error) => Some(format!("can't look at {shown}: {error}; run this as the user of the market")),
        Ok(found) if found.is_dir() => {
            Some(format!("{shown} is a folder; name the file in it, such as souk.db"))
        }
        Ok(_) => access(path, Access::READ_OK)
            .err()
            .map(|error| format!("can't read {shown}: {error}; run this as the user of the market")),
    }
}

/// The write-ahead log of a database that can't be written.
#[derive(Debug, PartialEq, Eq)]
enum Log {
    /// There is none: the database is complete, and no market has it open.
    Missing,
    /// There is one, which can be read only together with files that SQLite has to create.
    Unreadable(PathBuf),
}

impl Log {
    fn of(path: &Path) -> Self {
        // SQLite names the log after the real path.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let log = companion(&path, "-wal");
        let is_empty = fs::metadata(&log).map_or(true, |log| log.len() == 0);
        // The log of a running market is empty at times.
        let is_in_use = companion(&path, "-shm").exists();
        if is_empty && !is_in_use { Self::Missing } else { Self::Unreadable(log) }
    }
}

fn checked(check: Check) -> impl FnOnce(Connection) -> Result<Connection, SchemaProblem> {
    move |connection| check(&connection).map(|()| connection)
}

fn needs_writing(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

/// Returns the URI that tells SQLite that nothing changes the file, so that it needs no locks and no log.
fn immutable(path: &Path) -> PathBuf {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte))
            }
            byte => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    PathBuf::from(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only a database without a log is complete in itself.
    #[test]
    fn log_decides_whether_a_read_only_copy_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a souk?#%.db");
        drop(super::super::open(&path).unwrap());
        assert_eq!(Log::of(&path), Log::Missing);
        let (log, index) = (companion(&path, "-wal"), companion(&path, "-shm"));
        let log_is_needed =
            Log::Unreadable(fs::canonicalize(folder.path()).unwrap().join("a souk?#%.db-wal"));
        fs::write(&log, "").unwrap();
        assert_eq!(Log::of(&path), Log::Missing);
        fs::write(&index, "").unwrap();
        assert_eq!(Log::of(&path), log_is_needed, "a market runs");
        fs::remove_file(index).unwrap();
        fs::write(&log, "frames").unwrap();
        assert_eq!(Log::of(&path), log_is_needed);
        fs::remove_file(log).unwrap();
        let opened =
            connect_read_only(&immutable(&path), OpenFlags::SQLITE_OPEN_URI).and_then(checked(schema::check));
        assert!(opened.is_ok());
        assert!(!companion(&path, "-shm").exists(), "nothing is written");
    }
}
