//! Files of the folder: written whole or not at all, keys readable by their owner only from the first byte.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::PkiError;

/// How long a change waits for another one to end, and how often it looks.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_millis(20);

/// The longest file that is read: an index of about 50,000 certificates.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secrecy {
    /// Mode 0600.
    Secret,
    /// Mode 0644.
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

/// Makes the folder, and those above it, with mode 0700. An existing one is left as it is.
pub(super) fn create(dir: &Path) -> Result<(), PkiError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(PkiError::io(dir))
}

/// Replaces `path` in one step: a reader sees the old file or the new one, also after a crash.
pub(super) fn write(path: &Path, contents: &[u8], secrecy: Secrecy) -> Result<(), PkiError> {
    let temporary = temporary_beside(path);
    let written = write_new(&temporary, contents, secrecy).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // Best effort: the error that matters is the one that is returned.
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

/// Moves `from` to `to`, replacing it. Nothing happens when `from` isn't there.
pub(super) fn keep_as(from: &Path, to: &Path) -> Result<(), PkiError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(PkiError::io(from)(error)),
        _ => Ok(()),
    }
}

/// Lets one process at a time change the folder. The lock ends with the returned file, also when the process
/// is killed.
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

fn write_new(path: &Path, contents: &[u8], secrecy: Secrecy) -> io::Result<()> {
    let mut file = options(secrecy).create_new(true).open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

/// A name that nothing else uses, not even what a killed process left behind.
fn temporary_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", souk_certs::random::uuid_v4().simple()))
}

/// A rename is durable once its directory is.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if cfg!(unix) && !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}
