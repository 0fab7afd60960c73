//! Checkpoints: copies committed pages from the write-ahead log into the database file, in the background.
//!
//! SQLite's automatic checkpoint would run inside a commit, and that commit would wait for it. A passive
//! checkpoint on another thread blocks nobody, but while commits keep arriving it never catches up, and the
//! log grows. So above a size limit the checkpointer takes the writers' turn once, copies the rest, and the
//! log restarts from its beginning.

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

use super::{Turn, open_files::OpenFiles};

/// How often to check for new commits.
const INTERVAL: Duration = Duration::from_millis(500);
/// The number of pages in the log (of 4 KiB, so 64 MiB) above which the writers have to wait once.
const LOG_PAGES_MAX: i64 = 16_384;

/// The checkpoint thread. Dropping this ends it and waits for it.
pub(super) struct Checkpointer {
    commits: Arc<AtomicU64>,
    stop: Option<std::sync::mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Checkpointer {
    pub(super) fn start(connection: Connection, turn: Turn, files: Arc<OpenFiles>) -> io::Result<Self> {
        let commits = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = std::sync::mpsc::channel();
        let seen = Arc::clone(&commits);
        let thread = thread::Builder::new().name("souk-checkpoint".into()).spawn(move || {
            let mut done = 0;
            while stopped.recv_timeout(INTERVAL) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                // Also on an idle market, so that its readiness does not depend on writes.
                files.look();
                // Read before the checkpoint: a commit during it counts as new and is copied the next time.
                // Relaxed, since the counter guards no other memory.
                let now = seen.load(Ordering::Relaxed);
                // An idle market runs no checkpoint and lets the disk sleep.
                if now != done && files.may_write().is_ok() {
                    done = now;
                    checkpoint(&connection, &turn, &files);
                }
            }
            files.before_close(&connection);
            // Closed before the files are, which the other order would leave without locks.
            drop(connection);
            drop(files);
        })?;
        Ok(Self { commits, stop: Some(stop), thread: Some(thread) })
    }

    /// Records a commit, so that the next look runs a checkpoint.
    pub(super) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed, and does no harm: the log is checkpointed at the next start.
            let _ = thread.join();
        }
    }
}

fn checkpoint(connection: &Connection, turn: &Turn, files: &OpenFiles) {
    match run(connection, "PASSIVE") {
        Ok(pages) if pages > LOG_PAGES_MAX => {
            // With the turn held no writer can begin, so the checkpoint reaches the end of the log, and only
            // a reader can keep it from restarting.
            let _turn = turn.blocking_lock();
            if let Err(error) = run(connection, "RESTART") {
                let error = files.judge(error);
                tracing::debug!(%error, "can't restart the write-ahead log yet: a reader is in the way");
            }
        }
        Ok(_) => {}
        Err(error) => {
            let error = files.judge(error);
            tracing::warn!(%error, "a checkpoint failed; retrying");
        }
    }
}

/// Runs a checkpoint and returns the number of pages in the log.
fn run(connection: &Connection, mode: &str) -> Result<i64, rusqlite::Error> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(1))
}
