//! Detects changes of files by polling.
//!
//! Polling every [`WATCH_INTERVAL`] costs a handful of system calls. Unlike inotify it behaves the same on
//! every file system, and it sees through the symbolic links by which Kubernetes swaps a mounted secret and
//! the replacement of a whole folder.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

/// The polling interval. A change is reported when two consecutive polls see the same state, hence within two
/// intervals, or after [`MAX_UNSTABLE`] if the files keep changing.
pub const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// Maximum number of polls for which a change is held back because the files are still changing.
const MAX_UNSTABLE: u32 = 4;

/// A set of files to watch.
#[derive(Debug)]
pub struct FileWatch {
    paths: Vec<PathBuf>,
    known: Vec<Print>,
}

/// Inode, size and modification time (s, ns) of a file, which together identify its state; `None` if it does
/// not exist. The inode catches a file replaced by another of the same size and time.
type Print = Option<(u64, u64, i64, i64)>;

impl FileWatch {
    /// Creates a watch that reports changes relative to the current state of the files.
    #[must_use]
    pub fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let paths: Vec<_> = paths.into_iter().collect();
        let known = prints(&paths);
        FileWatch { paths, known }
    }

    /// Starts polling on a dedicated thread, until the receiver is dropped.
    ///
    /// Sends a message each time the files differ from the last reported state and have been the same for two
    /// polls. Changes that occur before the previous message is received are merged into it. The thread keeps
    /// a hanging file system (such as NFS) from blocking the runtime.
    ///
    /// # Errors
    /// Returns an error if the thread can't be started.
    pub fn start(mut self) -> io::Result<mpsc::Receiver<()>> {
        // Capacity 1 merges the changes that occur while a reload is in progress.
        let (changed, receiver) = mpsc::channel(1);
        thread::Builder::new().name("file-watch".to_owned()).spawn(move || {
            let (mut last, mut unstable) = (self.known.clone(), 0);
            while !changed.is_closed() {
                thread::sleep(WATCH_INTERVAL);
                let now = prints(&self.paths);
                // Two equal polls: certificate, key and CRL are copied one after another, and loading between
                // two of them would report a mismatch that is gone a moment later.
                unstable = if now == last { 0 } else { unstable + 1 };
                if now != self.known && (unstable == 0 || unstable >= MAX_UNSTABLE) {
                    unstable = 0;
                    self.known.clone_from(&now);
                    // If the channel is full, the message waiting in it covers this change as well.
                    let _ = changed.try_send(());
                }
                last = now;
            }
        })?;
        Ok(receiver)
    }
}

fn prints(paths: &[PathBuf]) -> Vec<Print> {
    let print = |path: &PathBuf| {
        // `metadata` follows symbolic links. Any error counts as absent; loading reports what is wrong.
        let found = path.metadata().ok()?;
        Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    };
    paths.iter().map(print).collect()
}
