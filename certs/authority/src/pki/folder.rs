//! Access to the files of the folder, with its errors.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use souk_certs::file;
pub(super) use souk_certs::file::Secrecy;
use uuid::Uuid;

use super::PkiError;

/// How long a change waits for another process to release the lock.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Maximum size of a file that is read: enough for an index of about 39,000 certificates.
pub(super) const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Creates the folder and its parents with mode 0700. Existing folders keep their mode.
pub(super) fn create(dir: &Path) -> Result<(), PkiError> {
    file::create_folder(dir).map_err(PkiError::io(dir))
}

/// Replaces `path` atomically; see [`file::replace`].
pub(super) fn write(path: &Path, contents: &[u8], secrecy: Secrecy, unique: Uuid) -> Result<(), PkiError> {
    file::replace(path, contents, secrecy, unique).map_err(PkiError::io(path))
}

/// Reads a text file of bounded size.
pub(super) fn read(path: &Path) -> Result<String, PkiError> {
    file::read(path, MAX_FILE_BYTES).map_err(PkiError::io(path))
}

/// Removes a file, if it exists.
pub(super) fn remove(path: &Path) -> Result<(), PkiError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(PkiError::io(path)(error)),
        _ => Ok(()),
    }
}

/// Moves `from` to `to`, replacing `to`. Does nothing if `from` does not exist.
pub(super) fn keep_as(from: &Path, to: &Path) -> Result<(), PkiError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(PkiError::io(from)(error)),
        _ => Ok(()),
    }
}

/// Takes the exclusive lock that a process needs to change the folder. It is released when the file is closed.
pub(super) fn lock(dir: &Path) -> Result<File, PkiError> {
    let path = dir.join(".lock");
    let taken = file::lock(&path, LOCK_WAIT).map_err(PkiError::io(&path))?;
    taken.ok_or_else(|| PkiError::Locked { dir: dir.to_owned() })
}
