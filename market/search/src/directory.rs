//! The directory of the index: files are written without waiting for the disk.
//!
//! tantivy's own directory syncs every file of every commit, which takes many times as long as making them. The index is
//! derived data and need not survive a power loss: what is damaged then is found by checksums when the index is opened,
//! and the index is rebuilt. A crash of the process alone loses nothing, because the files are the kernel's by then. What
//! was written is synced once a minute ([`Syncs`]), so that the index of a quiet market survives a power loss, too.
//!
//! tantivy appends a checksum to the files of a segment, but not to the small files that it replaces atomically. These
//! are sealed here.

use std::{
    collections::BTreeSet,
    fmt,
    fs::{self, File, OpenOptions},
    future,
    io::{self, BufWriter, ErrorKind, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tantivy::directory::{
    AntiCallToken, Directory, DirectoryLock, FileHandle, Lock, MmapDirectory, TerminatingWrite,
    WatchCallback, WatchHandle, WritePtr,
    error::{DeleteError, LockError, OpenDirectoryError, OpenReadError, OpenWriteError},
};
use tokio::{
    task::{self, JoinHandle},
    time::{self, Instant},
};

use super::SearchError;

/// How long files that were written are left to the kernel before they are synced.
const SYNC_EVERY: Duration = Duration::from_secs(60);
/// The ending of a small file that is not complete yet.
const UNFINISHED: &str = "new";

/// A folder of files that are read through memory maps, and not synced when they are written. Clones share it.
#[derive(Clone)]
pub(super) struct UnsyncedDirectory {
    maps: MmapDirectory,
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    /// The names of the files that exist and were written since the last sync.
    written: Mutex<BTreeSet<PathBuf>>,
}

impl UnsyncedDirectory {
    /// Opens an existing folder.
    pub(super) fn open(folder: &Path) -> Result<Self, OpenDirectoryError> {
        let maps = MmapDirectory::open(folder)?;
        let shared = Shared { folder: folder.to_owned(), written: Mutex::default() };
        Ok(Self { maps, shared: Arc::new(shared) })
    }

    /// Returns where the files are.
    pub(super) fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// Syncs the files that were written since the last time. Blocks as long as the disk takes.
    ///
    /// # Errors
    ///
    /// After a failure, the kernel may have dropped what it could not write. The files must be checked again.
    fn sync(&self) -> io::Result<()> {
        // Taken first: what is written meanwhile is synced the next time.
        let written = std::mem::take(&mut *self.shared.lock());
        for name in written {
            match File::open(self.shared.folder.join(name)) {
                Ok(file) => file.sync_data()?,
                // Merged into another one meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        File::open(&self.shared.folder)?.sync_all()
    }

    /// Removes the files that are neither hidden, such as locks, nor among `kept`.
    ///
    /// A crash leaves files that no commit names. They would stay for ever, and some would be in the way: the names of
    /// files with deletions are given by a counter, which continues from the last commit.
    pub(super) fn remove_others(&self, kept: &impl Fn(&Path) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(&self.shared.folder)? {
            let name = entry?.file_name();
            let is_hidden = name.as_encoded_bytes().starts_with(b".");
            let is_unfinished = Path::new(&name).extension().is_some_and(|end| end == UNFINISHED);
            if is_unfinished || !(is_hidden || kept(Path::new(&name))) {
                fs::remove_file(self.shared.folder.join(&name))?;
            }
        }
        Ok(())
    }
}

impl Shared {
    /// Locks the names. A poisoned lock is safe to use: no update under it can panic half-way.
    fn lock(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for UnsyncedDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnsyncedDirectory").field(&self.shared.folder).finish()
    }
}

impl Directory for UnsyncedDirectory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        self.maps.get_file_handle(path)
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        self.shared.lock().remove(path);
        self.maps.delete(path)
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.maps.exists(path)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        let created = OpenOptions::new().write(true).create_new(true).open(self.shared.folder.join(path));
        let file = created.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => OpenWriteError::FileAlreadyExists(path.to_owned()),
            _ => OpenWriteError::wrap_io_error(error, path.to_owned()),
        })?;
        self.shared.lock().insert(path.to_owned());
        Ok(BufWriter::new(Box::new(UnsyncedFile(file))))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let sealed = self.maps.atomic_read(path)?;
        unsealed(sealed).ok_or_else(|| {
            let damage = format!("its file {} is damaged", path.display());
            OpenReadError::wrap_io_error(io::Error::new(ErrorKind::InvalidData, damage), path.to_owned())
        })
    }

    fn atomic_write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        // A merge can outlive its index for a moment, in which the index is opened again and writes the same file.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = self.shared.folder.join(path);
        let unfinished = file.with_added_extension(format!("{number}.{UNFINISHED}"));
        fs::write(&unfinished, sealed(content))?;
        fs::rename(unfinished, file)?;
        self.shared.lock().insert(path.to_owned());
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        self.maps.acquire_lock(lock)
    }

    fn watch(&self, callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        self.maps.watch(callback)
    }
}

/// A file that is left to the kernel when it is complete.
struct UnsyncedFile(File);

impl Write for UnsyncedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TerminatingWrite for UnsyncedFile {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        Ok(())
    }
}

/// The length of a seal: a checksum in hexadecimal, and the end of its line.
const SEAL: usize = 9;

/// Appends a checksum to the content of a small file.
pub(super) fn sealed(content: &[u8]) -> Vec<u8> {
    let seal = format!("{:08x}\n", crc32fast::hash(content));
    [content, seal.as_bytes()].concat()
}

/// Takes the checksum off the content of a small file; `None` if it is not that of the content.
pub(super) fn unsealed(mut content: Vec<u8>) -> Option<Vec<u8>> {
    let seal = content.split_off(content.len().checked_sub(SEAL)?);
    (sealed(&content)[content.len()..] == seal).then_some(content)
}

/// The syncs of a directory, one a minute and one at a time.
pub(super) struct Syncs {
    /// `None` for an index in memory.
    directory: Option<UnsyncedDirectory>,
    due: Instant,
    running: Option<JoinHandle<io::Result<()>>>,
}

impl Syncs {
    pub(super) fn new(directory: Option<UnsyncedDirectory>) -> Self {
        Self { directory, due: Instant::now() + SYNC_EVERY, running: None }
    }

    /// Syncs the directory whenever it is due, until a sync fails. If this is dropped, the next call continues.
    pub(super) async fn until_failure(&mut self) -> SearchError {
        let Some(directory) = &self.directory else { return future::pending().await };
        loop {
            if let Some(running) = &mut self.running {
                let ended = running.await;
                self.running = None;
                if let Err(error) = ended.unwrap_or_else(|error| Err(io::Error::other(error))) {
                    return SearchError::Home { directory: directory.folder().to_owned(), error };
                }
            }
            time::sleep_until(self.due).await;
            self.due = Instant::now() + SYNC_EVERY;
            let directory = directory.clone();
            self.running = Some(task::spawn_blocking(move || directory.sync()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &UnsyncedDirectory, name: &str) {
        let mut file = directory.open_write(Path::new(name)).unwrap();
        file.write_all(b"content").unwrap();
        file.terminate().unwrap();
    }

    #[test]
    fn small_files_have_checksums() {
        let folder = tempfile::tempdir().unwrap();
        let directory = UnsyncedDirectory::open(folder.path()).unwrap();
        let (name, content) = (Path::new("meta.json"), b"{\"position\": 17}");
        directory.atomic_write(name, content).unwrap();
        assert_eq!(directory.atomic_read(name).unwrap(), content);
        let file = folder.path().join(name);
        let whole = fs::read(&file).unwrap();
        for byte in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[byte] ^= 1;
            for damaged in [&flipped, &whole[..byte]] {
                fs::write(&file, damaged).unwrap();
                assert!(matches!(directory.atomic_read(name), Err(OpenReadError::IoError { .. })), "{byte}");
            }
        }
        fs::remove_file(&file).unwrap();
        assert!(matches!(directory.atomic_read(name), Err(OpenReadError::FileDoesNotExist(_))));
    }

    #[test]
    fn small_files_can_be_written_by_several_threads() {
        let folder = tempfile::tempdir().unwrap();
        let name = Path::new("meta.json");
        std::thread::scope(|scope| {
            for number in 0..4u8 {
                let directory = UnsyncedDirectory::open(folder.path()).unwrap();
                scope.spawn(move || {
                    for _ in 0..500 {
                        directory.atomic_write(name, &[number; 100]).unwrap();
                        directory.atomic_read(name).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_what_was_written_is_synced_and_only_once() {
        let folder = tempfile::tempdir().unwrap();
        let directory = UnsyncedDirectory::open(folder.path()).unwrap();
        let pending = |directory: &UnsyncedDirectory| directory.shared.lock().len();
        for name in ["a.idx", "b.idx", "c.idx"] {
            write(&directory, name);
        }
        directory.delete(Path::new("a.idx")).unwrap();
        assert_eq!(pending(&directory), 2, "what was deleted is not synced");
        directory.atomic_write(Path::new("meta.json"), b"{}").unwrap();
        // Deleted behind its back, as by a merge during the sync.
        fs::remove_file(folder.path().join("b.idx")).unwrap();
        directory.sync().unwrap();
        assert_eq!(pending(&directory), 0);
        write(&directory, "d.idx");
        fs::remove_dir_all(folder.path()).unwrap();
        assert!(directory.sync().is_err(), "a folder that is gone can't be synced");
    }

    #[tokio::test(start_paused = true)]
    async fn directory_is_synced_once_a_minute() {
        let folder = tempfile::tempdir().unwrap();
        let directory = UnsyncedDirectory::open(folder.path()).unwrap();
        let mut syncs = Syncs::new(Some(directory.clone()));
        write(&directory, "a.idx");
        assert!(time::timeout(SYNC_EVERY / 2, syncs.until_failure()).await.is_err());
        assert_eq!(directory.shared.lock().len(), 1, "not yet");
        assert!(time::timeout(SYNC_EVERY, syncs.until_failure()).await.is_err());
        assert_eq!(directory.shared.lock().len(), 0);
        fs::remove_dir_all(folder.path()).unwrap();
        assert!(matches!(syncs.until_failure().await, SearchError::Home { .. }));
    }
}
