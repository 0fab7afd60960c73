//! Files and folders of contexts, with their paths in the errors.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::Duration,
};

use rustix::process::geteuid;
use souk_certs::{
    credentials::MAX_FILE_BYTES,
    file::{self, Secrecy},
};
use uuid::Uuid;

use super::ContextError;

/// The permissions that nobody but the owner may have on a folder.
const OTHERS_WRITE: u32 = 0o022;

/// The user who may replace any file anyway.
const ROOT: u32 = 0;

/// The file in a folder that is locked.
pub(super) const LOCK: &str = ".lock";

/// How long a change waits for another process to release a lock.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Creates a folder and its parents, readable only by their owner. Existing ones keep their mode.
pub(super) fn create_folder(path: &Path) -> Result<(), ContextError> {
    file::create_folder(path).map_err(ContextError::io("create", path))
}

/// Refuses a folder that belongs to another user, or that others may write to: they could replace the keys and the
/// authority in it. One that does not exist is fine.
pub(super) fn check_folder(path: &Path) -> Result<(), ContextError> {
    match fs::metadata(path) {
        Ok(found) => check_access(path, (found.uid(), found.mode()), geteuid().as_raw()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(ContextError::io("read", path)(error)),
    }
}

/// Judges the owner and the mode of a folder for the user `own`.
fn check_access(path: &Path, (owner, mode): (u32, u32), own: u32) -> Result<(), ContextError> {
    if owner != own && owner != ROOT {
        return Err(ContextError::Foreign { path: path.to_owned(), owner });
    }
    if mode & OTHERS_WRITE != 0 {
        return Err(ContextError::Exposed { path: path.to_owned() });
    }
    Ok(())
}

/// Reads a file of bounded size; `None` if it does not exist.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, ContextError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > MAX_FILE_BYTES => {
            Err(ContextError::malformed(path, format!("it is larger than {MAX_FILE_BYTES} bytes")))
        }
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ContextError::io("read", path)(error)),
    }
}

/// Reads a text file of bounded size; `None` if it does not exist.
pub(super) fn read_text(path: &Path) -> Result<Option<String>, ContextError> {
    let text = read(path)?.map(String::from_utf8).transpose();
    text.map_err(|_| ContextError::malformed(path, "it is not text"))
}

/// Replaces a file atomically and flushes it. `unique` is a new id, for the name of the temporary file.
pub(super) fn replace(
    path: &Path,
    contents: &[u8],
    secrecy: Secrecy,
    unique: Uuid,
) -> Result<(), ContextError> {
    file::replace(path, contents, secrecy, unique).map_err(ContextError::io("write", path))
}

/// Removes a file that may have been left behind by a process that was killed.
pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_file(path))
}

/// Removes a folder with everything in it, if it exists.
pub(super) fn remove_folder_if_there(path: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_dir_all(path))
}

/// Removes a folder by way of `aside`, a name beside it at which nobody looks: first out of sight in one step, so that no
/// process ever finds a part of it. What an interrupted removal has left there is removed as well.
pub(super) fn remove_folder_at_once(path: &Path, aside: &Path) -> io::Result<()> {
    remove_folder_if_there(aside)?;
    fs::rename(path, aside)?;
    remove_folder_if_there(aside)
}

fn absent_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Flushes a folder, without which a rename in it may be lost in a crash.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Takes the lock of a folder; `None` if another process still holds it after `wait`.
pub(super) fn try_lock(folder: &Path, wait: Duration) -> Result<Option<File>, ContextError> {
    let path = folder.join(LOCK);
    file::lock(&path, wait).map_err(ContextError::io("lock", &path))
}

/// Returns whether a file that was opened is still the one at a path, and was not removed or replaced since.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let id = |found: fs::Metadata| (found.dev(), found.ino());
    file.metadata().is_ok_and(|open| fs::metadata(path).is_ok_and(|found| id(found) == id(open)))
}

/// Takes the lock of a folder. Blocks for at most [`LOCK_WAIT`].
pub(super) fn lock(folder: &Path) -> Result<File, ContextError> {
    try_lock(folder, LOCK_WAIT)?.ok_or_else(|| ContextError::Busy { path: folder.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_another_user_is_refused_whatever_its_mode() {
        let path = Path::new("/c/souk");
        for (owner, mode, own) in [(1_000, 0o755, 1_000), (ROOT, 0o755, 1_000), (ROOT, 0o700, ROOT)] {
            check_access(path, (owner, mode), own).unwrap();
        }
        for (owner, own) in [(1_001, 1_000), (1_001, ROOT)] {
            let refused = check_access(path, (owner, 0o755), own).unwrap_err();
            assert!(matches!(refused, ContextError::Foreign { .. }), "{refused}");
        }
        let refused = check_access(path, (1_000, 0o775), 1_000).unwrap_err();
        assert!(matches!(refused, ContextError::Exposed { .. }), "{refused}");
    }
}
