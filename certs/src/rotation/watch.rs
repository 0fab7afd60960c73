//! Notices that files have changed.
//!
//! By looking, not by being told: a look every [`WATCH_INTERVAL`] costs a handful of system calls and works
//! alike on every file system, through the symbolic links by which Kubernetes swaps a mounted secret, and
//! for a folder that is replaced as a whole.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

/// How often the files are looked at. A change is taken up when the next look finds the files at rest, so
/// within two of these and what loading takes.
pub const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// Files that are looked at.
#[derive(Debug)]
pub struct FileWatch {
    paths: Vec<PathBuf>,
    known: Vec<Print>,
}

/// What tells one state of a file from another; `None` when it is not there.
type Print = Option<(u64, u64, i64, i64)>;

impl FileWatch {
    /// From the state in which the files are now.
    #[must_use]
    pub fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let paths: Vec<_> = paths.into_iter().collect();
        let known = prints(&paths);
        FileWatch { paths, known }
    }

    /// Looks on a thread of its own, for as long as the receiver is there, and tells of each time that the
    /// files are no longer as they were and have come to rest. Changes that come faster than they are
    /// received are told once. A file system that hangs holds up nothing but this thread.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn start(mut self) -> io::Result<mpsc::Receiver<()>> {
        let (changed, receiver) = mpsc::channel(1);
        thread::Builder::new().name("file-watch".to_owned()).spawn(move || {
            let mut last = self.known.clone();
            while !changed.is_closed() {
                thread::sleep(WATCH_INTERVAL);
                let now = prints(&self.paths);
                if now == last && now != self.known {
                    self.known.clone_from(&now);
                    // One that was not received yet tells of this change as well.
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
        let found = path.metadata().ok()?;
        Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    };
    paths.iter().map(print).collect()
}
