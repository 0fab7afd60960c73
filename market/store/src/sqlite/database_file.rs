//! The database file: found, locked and closed to other users before SQLite opens it.
//!
//! Two markets on one database would hand out the same ids, because each coordinates its writers only within
//! its process. The lock is therefore on the file itself: a lock on a name does not notice a second name of
//! the same file, such as a symbolic link, and is gone when someone deletes it.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::ownership::refuse_foreign;
use crate::StoreError;

/// How often the file may be replaced while it is being opened, before that is an error.
const ATTEMPTS: usize = 8;
/// How often a lock is tried. A process that starts another program shares its locks with it for a moment, until that
/// program runs, and one that is killed holds them until the kernel has cleaned up after it.
const LOCK_ATTEMPTS: u32 = 50;
/// The time between two attempts to lock.
const LOCK_POLL: Duration = Duration::from_millis(10);
/// The permissions of the database and its log: orders are nobody else's business.
const OWNER_ONLY: u32 = 0o600;
/// The permissions that others must not have.
const OTHERS: u32 = 0o077;

/// Identifies a file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// The database file, locked for this process.
///
/// It must be closed after every SQLite connection: SQLite uses POSIX locks, and the kernel drops all of a
/// process's POSIX locks on a file when the process closes any descriptor of it.
pub(super) struct DatabaseFile {
    /// The real path, without symbolic links.
    pub(super) path: PathBuf,
    pub(super) id: FileId,
    pub(super) file: File,
}

impl DatabaseFile {
    /// Opens and locks the file, and creates it if it does not exist.
    ///
    /// Refuses an empty database with a log, which SQLite would delete: a database gets its first page before its log
    /// gets any, so the log is what is left of another one.
    pub(super) fn open(given: &Path) -> Result<Self, StoreError> {
        // Before the file is created, so that nothing is in the way of the one that is missing.
        refuse_log_alone(given)?;
        let database = Self::lock_at(given, true)?;
        refuse_log_alone(&database.path)?;
        // Before anything about it or beside it is changed.
        refuse_foreign(&database.file, &database.path, &database.companion("-wal"))?;
        database.retire_lock_files(given)?;
        Ok(database)
    }

    /// Opens and locks an existing file, whatever it is.
    pub(super) fn open_existing(given: &Path) -> Result<Self, StoreError> {
        let database = Self::lock_at(given, false)?;
        database.retire_lock_files(given)?;
        Ok(database)
    }

    fn lock_at(given: &Path, create: bool) -> Result<Self, StoreError> {
        for _ in 0..ATTEMPTS {
            let opened = owner_only().create(create).truncate(false).open(given);
            let file = opened.map_err(|error| cannot_open(given, &error))?;
            let path = match fs::canonicalize(given) {
                Ok(path) => path,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(cannot_open(given, &error)),
            };
            lock(&file, &path, in_use)?;
            let locked = file.metadata().map_err(|error| cannot_open(&path, &error))?;
            // The file may have been replaced between opening and locking. Then the lock is on a file that
            // has no name any more.
            if !fs::metadata(&path).is_ok_and(|named| FileId::of(&named) == FileId::of(&locked)) {
                continue;
            }
            check(&path, &locked)?;
            return Ok(Self { id: FileId::of(&locked), path, file });
        }
        let path = given.display();
        Err(StoreError::unavailable(format!("{path} is replaced again and again; find out by what")))
    }

    /// Removes the lock files of older markets, unless one holds them.
    fn retire_lock_files(&self, given: &Path) -> Result<(), StoreError> {
        [&*self.path, given].into_iter().try_for_each(retire_lock_file)
    }

    /// Returns the path of one of SQLite's companion files, such as `-wal`.
    pub(super) fn companion(&self, suffix: &str) -> PathBuf {
        companion(&self.path, suffix)
    }

    /// Takes the file and its companions from other users of this machine, if they have access.
    ///
    /// SQLite gives companions that it creates the database's permissions.
    pub(super) fn close_to_others(&self) {
        for path in [self.path.clone(), self.companion("-wal"), self.companion("-shm")] {
            close_to_others(&path);
        }
    }
}

/// Returns the path of one of SQLite's companion files, such as `-wal`.
pub(super) fn companion(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

/// Returns the options to create a file that only its owner can read, whatever the umask.
pub(super) fn owner_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(OWNER_ONLY);
    options
}

/// Removes a file; a missing one is no error.
pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Syncs the folder of a file, which makes the file's name durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        // A bare name is in the working directory.
        Some(_) => File::open(".")?.sync_all(),
        None => Ok(()),
    }
}

fn refuse_log_alone(database: &Path) -> Result<(), StoreError> {
    let is_empty = |path: &Path| match fs::metadata(path) {
        Ok(file) => file.len() == 0,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    let log = companion(database, "-wal");
    if !is_empty(database) || is_empty(&log) {
        return Ok(());
    }
    let shown = database.display();
    let state = if database.exists() { "empty" } else { "missing" };
    Err(StoreError::unavailable(format!(
        "{shown} is {state}, but its log {} is here: put the database back, or move the log away",
        log.display()
    )))
}

/// Locks a file until its descriptor is closed, or fails with `held` if another process has locked it for longer than a
/// moment.
pub(super) fn lock(file: &File, path: &Path, held: fn(&Path) -> StoreError) -> Result<(), StoreError> {
    let mut attempts = 1..=LOCK_ATTEMPTS;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if attempts.next().is_some() => thread::sleep(LOCK_POLL),
            Err(TryLockError::WouldBlock) => return Err(held(path)),
            Err(TryLockError::Error(error)) => {
                let shown = path.display();
                return Err(StoreError::unavailable(format!(
                    "can't lock {shown}: {error}; keep it on a local file system"
                )));
            }
        }
    }
}

fn check(path: &Path, metadata: &Metadata) -> Result<(), StoreError> {
    let shown = path.display();
    if !metadata.is_file() {
        return Err(StoreError::unavailable(format!("{shown} is not a file; name another one")));
    }
    if metadata.nlink() > 1 {
        // SQLite names the log after the path, so that each name would have a log of its own.
        return Err(StoreError::unavailable(format!(
            "{shown} has {} hard links, and a database must have one name; remove the others (find / -xdev -samefile {shown})",
            metadata.nlink()
        )));
    }
    Ok(())
}

/// Removes the lock file of an older market, unless one holds it.
fn retire_lock_file(path: &Path) -> Result<(), StoreError> {
    let name = companion(path, ".lock");
    let Ok(file) = OpenOptions::new().write(true).open(&name) else { return Ok(()) };
    match file.try_lock() {
        Ok(()) => {
            // Fails at worst where the file does no harm.
            let _ = fs::remove_file(&name);
            Ok(())
        }
        Err(TryLockError::WouldBlock) => Err(in_use(path)),
        Err(TryLockError::Error(error)) => Err(cannot_open(&name, &error)),
    }
}

fn close_to_others(path: &Path) {
    let Ok(metadata) = fs::metadata(path) else { return };
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & OTHERS == 0 {
        return;
    }
    // By path, because closing a descriptor of the database would drop SQLite's locks.
    match fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS)) {
        Ok(()) => tracing::warn!(
            path = %path.display(),
            "other users had access to this file (mode {mode:o}); now only its owner has"
        ),
        Err(error) => tracing::warn!(
            path = %path.display(), %error,
            "other users have access to this file (mode {mode:o}); run chmod 600 on it as its owner"
        ),
    }
}

fn in_use(path: &Path) -> StoreError {
    StoreError::unavailable(format!(
        "another market has {} open; stop it, or use another file",
        path.display()
    ))
}

fn cannot_open(path: &Path, error: &io::Error) -> StoreError {
    if error.kind() == io::ErrorKind::IsADirectory {
        return StoreError::unavailable(format!(
            "{0} is a folder; name a file in it, such as {0}/souk.db",
            path.display()
        ));
    }
    StoreError::unavailable(format!(
        "can't open {}: {error}; check that its folder exists and that the market may write there",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_that_is_given_up_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("souk.db");
        let held = DatabaseFile::open(&path).unwrap();
        let (trying, tried) = std::sync::mpsc::channel();
        let waiting = thread::spawn(move || {
            trying.send(()).unwrap();
            DatabaseFile::open(&path).map(drop)
        });
        tried.recv().unwrap();
        // It may not have got to the lock yet, and then this tests nothing, but it never fails for that.
        thread::yield_now();
        drop(held);
        assert!(waiting.join().unwrap().is_ok());
    }
}
