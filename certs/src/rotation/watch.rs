//! Notices that files have changed.
//!
//! By looking, not by being told: a look every [`WATCH_INTERVAL`] costs a handful of system calls and works
//! alike on every file system, through the symbolic links by which Kubernetes swaps a mounted secret, and
//! for a folder that is replaced as a whole.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

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

    /// Waits until the files are no longer as they were at the last answer (at first: when the watch began)
    /// and have come to rest. May be dropped and called again at any time.
    pub async fn changed(&mut self) {
        let mut last = self.known.clone();
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            let now = self.look().await;
            if now == last && now != self.known {
                self.known = now;
                return;
            }
            last = now;
        }
    }

    /// A file system may hang, and then it may not hold up more than the watch.
    async fn look(&self) -> Vec<Print> {
        let paths = self.paths.clone();
        tokio::task::spawn_blocking(move || prints(&paths)).await.unwrap_or_else(|_| self.known.clone())
    }
}

fn prints(paths: &[PathBuf]) -> Vec<Print> {
    let print = |path: &PathBuf| {
        let found = path.metadata().ok()?;
        Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    };
    paths.iter().map(print).collect()
}
