//! Moves what is committed from the write-ahead log into the file, beside the commits.
//!
//! A passive checkpoint never blocks anybody, but while commits keep coming it never catches up either,
//! and the log grows. So past a limit the checkpointer takes the writers' turn once, and the log starts
//! over.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use rusqlite::Connection;

use super::Turn;

/// How often to look for new commits.
const INTERVAL: Duration = Duration::from_millis(500);
/// Pages in the log (of 4 KiB) past which the writers are asked to wait.
const LOG_PAGES_MAX: i64 = 16_384;

/// The thread; it ends when this is dropped.
pub(super) struct Checkpointer {
    commits: Arc<AtomicU64>,
    stop: Option<std::sync::mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Checkpointer {
    pub(super) fn start(connection: Connection, turn: Turn) -> io::Result<Self> {
        let commits = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = std::sync::mpsc::channel();
        let seen = Arc::clone(&commits);
        let thread = thread::Builder::new().name("souk-checkpoint".into()).spawn(move || {
            let mut done = 0;
            while stopped.recv_timeout(INTERVAL) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let now = seen.load(Ordering::Relaxed);
                if now != done {
                    done = now;
                    checkpoint(&connection, &turn);
                }
            }
        })?;
        Ok(Self { commits, stop: Some(stop), thread: Some(thread) })
    }

    /// Counts a commit.
    pub(super) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; the store is none the worse for it.
            let _ = thread.join();
        }
    }
}

fn checkpoint(connection: &Connection, turn: &Turn) {
    match run(connection, "PASSIVE") {
        Ok(pages) if pages > LOG_PAGES_MAX => {
            let _turn = turn.blocking_lock();
            if let Err(error) = run(connection, "RESTART") {
                tracing::debug!(%error, "the write-ahead log could not start over yet: a reader is in the way");
            }
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "a checkpoint failed; it is tried again"),
    }
}

/// Answers how many pages are in the log.
fn run(connection: &Connection, mode: &str) -> Result<i64, rusqlite::Error> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(1))
}
