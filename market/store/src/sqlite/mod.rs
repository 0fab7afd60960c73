//! The SQLite back end: one file, one market.
//!
//! - The **lane** has its own connection and commits with `synchronous=FULL`: what is acknowledged survives
//!   a power loss.
//! - **Mailboxes** and **tracks** write through a second connection with `synchronous=NORMAL`: its commits
//!   are not synced, and what a power loss forgets is delivered again. The two connections take turns
//!   (`Turn`), so that neither meets the other's lock inside SQLite, where waiting means polling.
//! - **Reads** run on read-only connections with their own threads. In WAL mode they never wait for a
//!   writer.
//! - **Checkpoints** run in the background (`checkpoint`), never in a commit.

mod audit;
mod backup;
mod check;
mod checkpoint;
mod consumers;
mod convert;
mod deliveries;
mod error;
mod expand;
mod lane;
mod load;
mod mailboxes;
mod pool;
mod reads;
mod received;
#[cfg(test)]
mod replans;
mod restore;
mod rows;
mod save;
mod schema;
mod settle;
mod summary;
mod tracks;

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};
use tokio::sync::Mutex;

pub use backup::{BackupProgress, backup};
pub use check::check;
pub use restore::{Restored, SKIPPED_NUMBERS, restore};

use super::{Reads, Store, StoreError};
use checkpoint::Checkpointer;
use lane::SqliteLane;
use mailboxes::SqliteMailboxes;
use pool::Pool;
use reads::SqliteReads;

/// The number of read-only connections, each with its own thread.
const READERS: usize = 2;
/// The maximum number of queries that wait for a reader; more are refused.
const READ_QUEUE: usize = 1_024;
/// The maximum number of queries that share a snapshot. Small, so that a slow one delays few others.
const READS_TOGETHER: usize = 16;
/// The maximum number of mailbox operations that wait for the writer.
const MAILBOX_QUEUE: usize = 1_024;
/// The page cache of each connection in KiB (a negative `cache_size` means KiB).
const CACHE_KIB: i64 = 32 * 1024;
/// The file is memory-mapped up to this size in bytes.
const MMAP_BYTES: i64 = 1 << 30;
/// The number of prepared statements that each connection caches.
const STATEMENTS: usize = 64;
/// How long SQLite waits for a lock. The writers take turns outside it, so they wait at most for a
/// checkpoint.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The right to write. Tokio's mutex is fair, so the lane waits for one mailbox operation at most.
type Turn = Arc<Mutex<()>>;

/// Opens the store in a file, creating it if it does not exist, and brings its schema up to date.
///
/// # Errors
///
/// Fails if another market has the file open, or if the file is damaged, belongs to another program, or was
/// written by a newer market.
pub fn open(path: &Path) -> Result<Store, StoreError> {
    // Before anything opens the database: two markets must never migrate it at the same time.
    let lock = lock(path)?;
    // Migrations run on the durable connection, before any other is opened.
    let mut connection = connect(path, "FULL")?;
    schema::migrate(&mut connection).map_err(|problem| problem.at(path))?;
    let turn = Turn::default();
    let mailbox_writer = connect(path, "NORMAL")?;
    let readers = (0..READERS).map(|_| connect_read_only(path)).collect::<Result<Vec<_>, _>>()?;
    let checkpointer =
        Checkpointer::start(connect(path, "NORMAL")?, Arc::clone(&turn)).map_err(StoreError::unavailable)?;
    let reads =
        Pool::start("souk-reader", readers, READ_QUEUE, READS_TOGETHER).map_err(StoreError::unavailable)?;
    let mailboxes = Pool::start("souk-mailbox", vec![mailbox_writer], MAILBOX_QUEUE, 1)
        .map_err(StoreError::unavailable)?;
    // The lane holds the file's lock and the checkpointer, because it is dropped last.
    let lane = SqliteLane::new(connection, Arc::clone(&turn), checkpointer, lock);
    let mailboxes = Arc::new(SqliteMailboxes::new(mailboxes, turn));
    Ok(Store {
        lanes: vec![Box::new(lane)],
        reads: Arc::new(SqliteReads::new(reads)),
        mailboxes: mailboxes.clone(),
        consumers: mailboxes.clone(),
        tracks: mailboxes.clone(),
        upkeep: mailboxes,
        replicas: None,
    })
}

/// Opens only the queries, alongside a market that may have the file open. Writes nothing.
///
/// # Errors
///
/// Fails if the file can't be read, or if its schema is not up to date.
pub fn open_reads(path: &Path) -> Result<Arc<dyn Reads>, StoreError> {
    let connection = connect_read_only(path)?;
    schema::check(&connection).map_err(|problem| problem.at(path))?;
    let pool =
        Pool::start("souk-reader", vec![connection], READ_QUEUE, 1).map_err(StoreError::unavailable)?;
    Ok(Arc::new(SqliteReads::new(pool)))
}

/// Locks the file for this process. Only one market may have it open, because the writers' turns are
/// coordinated within a process.
fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&name).map_err(|error| {
        StoreError::unavailable(format!(
            "can't open {}: {error}; check that its folder exists",
            name.display()
        ))
    })?;
    // A separate file, because SQLite uses POSIX locks on the database itself: those belong to the process,
    // and closing any descriptor of the file releases them all. The kernel releases this lock even after a
    // crash.
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::unavailable(format!(
            "another market has {} open; stop it, or use another file",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(StoreError::unavailable(error)),
    }
}

fn connect(path: &Path, synchronous: &str) -> Result<Connection, StoreError> {
    let at = |error: rusqlite::Error| error::named(path, &error);
    let mut connection = Connection::open(path).map_err(at)?;
    configure(&mut connection).map_err(at)?;
    // WAL lets readers work beside a writer. In WAL mode `synchronous=NORMAL` syncs only at checkpoints, and
    // FULL also at each commit.
    connection.pragma_update(None, "journal_mode", "WAL").map_err(at)?;
    connection.pragma_update(None, "synchronous", synchronous).map_err(at)?;
    // The checkpointer does it, outside of commits.
    connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(at)?;
    // SQLite leaves foreign keys off unless each connection asks for them.
    connection.pragma_update(None, "foreign_keys", true).map_err(at)?;
    Ok(connection)
}

fn connect_read_only(path: &Path) -> Result<Connection, StoreError> {
    let at = |error: rusqlite::Error| error::named(path, &error);
    // NO_MUTEX: each connection stays on one thread of the pool, so SQLite need not lock it.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(at)?;
    configure(&mut connection).map_err(at)?;
    connection.pragma_update(None, "query_only", true).map_err(at)?;
    Ok(connection)
}

fn configure(connection: &mut Connection) -> Result<(), rusqlite::Error> {
    #[cfg(test)]
    replans::watch(connection);
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // The query planner stability guarantee. rusqlite clears the bindings of a statement that goes back to its cache;
    // without QPSG, SQLite then considers the plan out of date wherever a bound value might have influenced it, and
    // plans nearly every use of every cached statement again (measured: 1,999 of 2,000).
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "mmap_size", MMAP_BYTES)?;
    // Sorting must not depend on a writable folder for temporary files, nor wait for its disk.
    connection.pragma_update(None, "temp_store", "MEMORY")
}
