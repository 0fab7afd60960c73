//! The right to write. One writer of the store has it at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, Error, ErrorCode};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::write_lock::WriteLock;

/// How long a writer waits for the write lock of another process, such as `sqlite3`. The market's own writers take
/// turns outside SQLite, so they never hold it against each other.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection that writes waits for it inside SQLite, where nothing can interrupt the wait.
pub(super) const BUSY_SLICE: Duration = Duration::from_millis(100);

/// The writers' turns. Tokio's mutex is fair, so the lane waits for one mailbox operation at most. Clones share it.
#[derive(Clone)]
pub(super) struct Turn {
    right: Arc<Mutex<()>>,
    ended: Arc<AtomicU64>,
    closing: Arc<AtomicBool>,
    lock: WriteLock,
}

/// A writer's turn. It ends when this is dropped.
pub(super) struct Taken {
    _right: OwnedMutexGuard<()>,
    ended: Arc<AtomicU64>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        // Counted here, so that no writer can be forgotten. Relaxed, since the counter guards no other memory.
        self.ended.fetch_add(1, Ordering::Relaxed);
    }
}

impl Turn {
    pub(super) fn new(lock: WriteLock) -> Self {
        Self { right: Arc::default(), ended: Arc::default(), closing: Arc::default(), lock }
    }

    pub(super) async fn take(&self) -> Taken {
        Taken { _right: Arc::clone(&self.right).lock_owned().await, ended: Arc::clone(&self.ended) }
    }

    /// Like [`Turn::take`], on a thread that may block.
    pub(super) fn take_blocking(&self) -> Taken {
        Taken { _right: Arc::clone(&self.right).blocking_lock_owned(), ended: Arc::clone(&self.ended) }
    }

    /// Keeps all writers out while the result exists. Does not count as a writer's turn.
    pub(super) fn pause(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.right).blocking_lock_owned()
    }

    /// Returns the number of turns that have ended. After each of them there may be something to checkpoint.
    pub(super) fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// Ends the waits of [`Turn::begin_blocking`], because the store is being closed.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Begins a write transaction, and waits up to [`BUSY_TIMEOUT`] for another process.
    pub(super) fn begin_blocking(&self, connection: &Connection) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            match self.begin(connection, began) {
                None if self.is_closing() => return begin(connection),
                None => {}
                Some(begun) => return begun,
            }
        }
    }

    /// Like [`Turn::begin_blocking`], but yields after each slice, so that its future can be dropped.
    pub(super) async fn begin_interruptibly(&self, connection: &mut Connection) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            match self.begin(connection, began) {
                None => tokio::task::yield_now().await,
                Some(begun) => return begun,
            }
        }
    }

    /// Tries once to begin a write transaction; `None` if another process is in the way and there is time left.
    fn begin(&self, connection: &Connection, began: Instant) -> Option<Result<(), Error>> {
        match begin(connection) {
            Err(error) if is_busy(&error) => {
                let waited = began.elapsed();
                self.lock.waited(waited);
                (waited >= BUSY_TIMEOUT).then_some(Err(error))
            }
            Err(error) => Some(Err(error)),
            Ok(()) => {
                self.lock.taken();
                Some(Ok(()))
            }
        }
    }

    /// While another process holds the write lock, checks whether it is free again. A market that is not ready gets no
    /// calls, so there may never be a writer to notice. One that waits has the turn, and notices by itself.
    pub(super) fn probe(&self, connection: &Connection) {
        if !self.lock.is_held() {
            return;
        }
        let Ok(_right) = self.right.try_lock() else { return };
        if begin(connection).is_ok() {
            self.lock.taken();
            if let Err(error) = connection.execute_batch("ROLLBACK") {
                tracing::debug!(%error, "nothing to roll back");
            }
        }
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }
}

fn begin(connection: &Connection) -> Result<(), Error> {
    // IMMEDIATE takes SQLite's write lock now. A deferred transaction would take it at the first write, after it
    // has read, and could fail there because its snapshot is out of date.
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map(|_| ())
}

fn is_busy(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}
