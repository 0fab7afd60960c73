//! The market that is attacked, or left alone for the control.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::process::ServerProcess;

/// Server threads, of which the machine should have as many cores.
const THREADS: usize = 2;
/// The log level of an operator: attacks may fill the log.
const LOG: &str = "info";
/// How often its memory and descriptors are read.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A market in a process of its own.
pub(super) struct Victim {
    process: ServerProcess,
    dir: PathBuf,
    admin: SocketAddr,
    log: PathBuf,
    // Last: deleted after the process has been killed.
    _folder: Option<TempDir>,
}

impl Victim {
    /// Starts a market in a folder, which it does not delete.
    pub(super) async fn start_in(dir: &Path) -> anyhow::Result<Self> {
        // Free now, and taken at once.
        let admin = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let process = ServerProcess::start_attacked(dir, THREADS, LOG, admin).await?;
        let log = dir.join("serve-attacked.log");
        Ok(Self { process, dir: dir.to_owned(), admin, log, _folder: None })
    }

    /// Starts a market in a folder of its own.
    pub(super) async fn start(folder: TempDir) -> anyhow::Result<Self> {
        let market = Self::start_in(folder.path()).await?;
        Ok(Self { _folder: Some(folder), ..market })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.process.address
    }

    pub(super) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Returns its folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        self.process.stop().await
    }

    /// Returns the bytes that it has logged.
    pub(super) fn logged(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |log| log.len())
    }

    /// Returns its heap and stacks in bytes; an error if it has ended.
    pub(super) fn memory(&self) -> anyhow::Result<u64> {
        Ok(self.process.memory()?.anonymous)
    }

    /// Returns the number of its open file descriptors; an error if it has ended.
    pub(super) fn descriptors(&self) -> anyhow::Result<usize> {
        self.process.descriptors()
    }

    /// Notes the most memory and descriptors that it has, until the watch is dropped.
    pub(super) fn watch(self: &Arc<Self>) -> Watch {
        let (market, memory, descriptors) =
            (Arc::clone(self), Arc::<AtomicU64>::default(), Arc::<AtomicUsize>::default());
        let noted = (Arc::clone(&memory), Arc::clone(&descriptors));
        let watching = tokio::spawn(async move {
            while let (Ok(memory), Ok(descriptors)) = (market.memory(), market.descriptors()) {
                noted.0.fetch_max(memory, Ordering::Relaxed);
                noted.1.fetch_max(descriptors, Ordering::Relaxed);
                sleep(LOOK_EVERY).await;
            }
        });
        Watch { memory, descriptors, watching }
    }

    /// Waits until its memory is at most `limit`, and returns whether it was in time.
    pub(super) async fn shrinks_to(&self, limit: u64, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            match self.memory() {
                Err(_) => return false,
                Ok(memory) if memory <= limit => return true,
                Ok(_) if Instant::now() >= deadline => return false,
                Ok(_) => sleep(LOOK_EVERY).await,
            }
        }
    }
}

/// The most memory and descriptors of a market so far.
pub(super) struct Watch {
    memory: Arc<AtomicU64>,
    descriptors: Arc<AtomicUsize>,
    watching: JoinHandle<()>,
}

impl Watch {
    pub(super) fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    pub(super) fn descriptors(&self) -> usize {
        self.descriptors.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watching.abort();
    }
}
