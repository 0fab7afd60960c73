//! Files that are replaced as a whole, with restrictive modes from the moment of creation, and locks between processes.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;

/// How often a caller that waits tries to take a lock. `File` has no lock call with a timeout.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// Whether others may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// Mode 0600: keys, and what contains them.
    Secret,
    /// Mode 0644: certificates and revocation lists.
    Public,
}

impl Secrecy {
    /// Returns the mode of such a file.
    #[must_use]
    pub const fn mode(self) -> u32 {
        match self {
            Secrecy::Secret => 0o600,
            Secrecy::Public => 0o644,
        }
    }
}

/// Creates a folder and its parents with mode 0700. Existing folders keep their mode.
///
/// # Errors
/// Returns the error of the file system.
pub fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Replaces `path` atomically: a reader sees the old file or the new one, even after a crash. `unique` is a new
/// id, for the name of the temporary file.
///
/// # Errors
/// Returns the error of the file system. `path` is then as before, unless only the flush of its folder failed.
pub fn replace(path: &Path, contents: &[u8], secrecy: Secrecy, unique: Uuid) -> io::Result<()> {
    let temporary = temporary_beside(path, unique);
    let written = create(&temporary, contents, secrecy).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // Best effort: the error of the write is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written.and_then(|()| sync_parent(path))
}

/// Reads a text file of at most `max_bytes`.
///
/// # Errors
/// Returns the error of the file system, [`io::ErrorKind::FileTooLarge`] for a larger file, and
/// [`io::ErrorKind::InvalidData`] for one that is not UTF-8.
pub fn read(path: &Path, max_bytes: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(max_bytes.saturating_add(1)).read_to_string(&mut text)?;
    if text.len() as u64 > max_bytes {
        let message = format!("the file is larger than {max_bytes} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}

/// Takes an exclusive lock on a file of mode 0600, which is created if it is missing. Returns `None` if another process
/// still holds it after `wait`.
///
/// The lock is released when the returned file is closed; the kernel does that too if the process is killed, so no
/// stale lock is left behind. Blocks the thread.
///
/// # Errors
/// Returns the error of the file system.
pub fn lock(path: &Path, wait: Duration) -> io::Result<Option<File>> {
    let file = options(Secrecy::Secret).create(true).truncate(false).open(path)?;
    let deadline = Instant::now() + wait;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(fs::TryLockError::Error(error)) => return Err(error),
            Err(fs::TryLockError::WouldBlock) if Instant::now() >= deadline => return Ok(None),
            Err(fs::TryLockError::WouldBlock) => thread::sleep(LOCK_POLL),
        }
    }
}

/// Returns whether users other than the owner may read a file. `false` if that is not known.
#[cfg(unix)]
#[must_use]
pub fn others_may_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    const GROUP_AND_OTHERS: u32 = 0o077;
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & GROUP_AND_OTHERS != 0)
}

/// Returns `false`: the modes of files are known only on Unix.
#[cfg(not(unix))]
#[must_use]
pub fn others_may_read(_path: &Path) -> bool {
    false
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
fn create(path: &Path, contents: &[u8], secrecy: Secrecy) -> io::Result<()> {
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
