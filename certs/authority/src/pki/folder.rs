//! File access: atomic replacement, restrictive modes from the moment of creation, and the lock.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::PkiError;

/// How long a change waits for another process to release the lock.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// How often a waiting change tries to take the lock. `File` has no lock call with a timeout.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// Maximum size of a file that is read: enough for an index of about 50,000 certificates.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Whether others may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secrecy {
    /// Mode 0600: keys, the index, and what contains them.
    Secret,
    /// Mode 0644: certificates and revocation lists.
    Public,
}

impl Secrecy {
    pub(super) const fn mode(self) -> u32 {
        match self {
            Secrecy::Secret => 0o600,
            Secrecy::Public => 0o644,
        }
    }
}

/// Creates the folder and its parents with mode 0700. Existing folders keep their mode.
pub(super) fn create(dir: &Path) -> Result<(), PkiError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(PkiError::io(dir))
}

/// Replaces `path` atomically: a reader sees the old file or the new one, even after a crash. `unique` is a new
/// id, for the name of the temporary file.
pub(super) fn write(path: &Path, contents: &[u8], secrecy: Secrecy, unique: Uuid) -> Result<(), PkiError> {
    let temporary = temporary_beside(path, unique);
    let written = write_new(&temporary, contents, secrecy).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // Best effort: the error of the write is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written.and_then(|()| sync_parent(path)).map_err(PkiError::io(path))
}

/// Reads a text file of bounded size.
pub(super) fn read(path: &Path) -> Result<String, PkiError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text));
    read.map(|_| text).map_err(PkiError::io(path))
}

/// Moves `from` to `to`, replacing `to`. Does nothing if `from` does not exist.
pub(super) fn keep_as(from: &Path, to: &Path) -> Result<(), PkiError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(PkiError::io(from)(error)),
        _ => Ok(()),
    }
}

/// Takes the exclusive lock that a process needs to change the folder. The lock is released when the returned
/// file is closed; the kernel does that too if the process is killed, so no stale lock is left behind.
pub(super) fn lock(dir: &Path) -> Result<File, PkiError> {
    let path = dir.join(".lock");
    let file =
        options(Secrecy::Secret).create(true).truncate(false).open(&path).map_err(PkiError::io(&path))?;
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::Error(error)) => return Err(PkiError::io(&path)(error)),
            Err(fs::TryLockError::WouldBlock) if Instant::now() >= deadline => {
                return Err(PkiError::Locked { dir: dir.to_owned() });
            }
            Err(fs::TryLockError::WouldBlock) => thread::sleep(LOCK_POLL),
        }
    }
}

fn options(secrecy: Secrecy) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, secrecy.mode());
    #[cfg(not(unix))]
    let _ = secrecy;
    options
}

/// Creates a file and flushes it to disk. The mode is set by `open` itself: a later `chmod` would leave a
/// moment in which others could open a key. `create_new` refuses to follow a file or link that is already
/// there.
fn write_new(path: &Path, contents: &[u8], secrecy: Secrecy) -> io::Result<()> {
    let mut file = options(secrecy).create_new(true).open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

/// Returns an unused path in the same folder. It must be on the same file system, because `rename` is atomic
/// only there, and must differ from what a killed process may have left behind.
fn temporary_beside(path: &Path, unique: Uuid) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", unique.simple()))
}

/// Flushes the parent directory, without which a rename may be lost in a crash.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if cfg!(unix) && !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}
