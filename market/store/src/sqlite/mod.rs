//! The SQLite back end: one file, one market.
//!
//! - The **lane** has a connection of its own and commits with `synchronous=FULL`: what is acknowledged
//!   survives power loss.
//! - **Mailboxes** and **tracks** write through a second connection with `synchronous=NORMAL`: what a power loss forgets
//!   of them is only delivered again. The two take turns (`turn`), so that neither meets the other's lock
//!   inside SQLite.
//! - **Reads** run on read-only connections in threads of their own; in WAL mode they never wait for a
//!   writer.
//! - **Checkpoints** run beside all this (`checkpoint`), never in a commit.

mod checkpoint;
mod convert;
mod error;
mod lane;
mod load;
mod mailboxes;
mod pool;
mod reads;
#[cfg(test)]
mod replans;
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

use super::{Reads, Store, StoreError};
use checkpoint::Checkpointer;
use lane::SqliteLane;
use mailboxes::SqliteMailboxes;
use pool::Pool;
use reads::SqliteReads;

/// Read-only connections, each with a thread.
const READERS: usize = 2;
/// Queries that wait for a reader; further ones are refused.
const READ_QUEUE: usize = 1_024;
/// Queries that share a snapshot. Few, so that a slow one does not hold up many.
const READS_TOGETHER: usize = 16;
/// Mailbox operations that wait.
const MAILBOX_QUEUE: usize = 1_024;
/// Pages cached by each connection, in KiB (a negative `cache_size` counts KiB).
const CACHE_KIB: i64 = 32 * 1024;
/// The file is mapped up to this size, in bytes.
const MMAP_BYTES: i64 = 1 << 30;
/// Prepared statements kept by each connection.
const STATEMENTS: usize = 64;
/// The writers take turns, so they never wait inside SQLite, but for a checkpoint at the most.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Whose turn it is to write. Fair: the lane waits for one mailbox operation at the most.
type Turn = Arc<Mutex<()>>;

/// Opens the store in a file, which is made when missing, and brings its schema up to date.
pub fn open(path: &Path) -> Result<Store, StoreError> {
    let lock = lock(path)?;
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
    // The lane is the last to go: it holds the lock on the file and the checkpointer.
    let lane = SqliteLane::new(connection, Arc::clone(&turn), checkpointer, lock);
    let mailboxes = Arc::new(SqliteMailboxes::new(mailboxes, turn));
    Ok(Store {
        lanes: vec![Box::new(lane)],
        reads: Arc::new(SqliteReads::new(reads)),
        mailboxes: mailboxes.clone(),
        tracks: mailboxes,
        replicas: None,
    })
}

/// Only the queries, beside a market that may have the file open. Writes nothing.
pub fn open_reads(path: &Path) -> Result<Arc<dyn Reads>, StoreError> {
    let connection = connect_read_only(path)?;
    schema::check(&connection).map_err(|problem| problem.at(path))?;
    let pool =
        Pool::start("souk-reader", vec![connection], READ_QUEUE, 1).map_err(StoreError::unavailable)?;
    Ok(Arc::new(SqliteReads::new(pool)))
}

/// Only one market may have the file open: the writers' turns are taken within a process.
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
    connection.pragma_update(None, "journal_mode", "WAL").map_err(at)?;
    connection.pragma_update(None, "synchronous", synchronous).map_err(at)?;
    // Checkpoints are the checkpointer's business.
    connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(at)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(at)?;
    Ok(connection)
}

fn connect_read_only(path: &Path) -> Result<Connection, StoreError> {
    let at = |error: rusqlite::Error| error::named(path, &error);
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
    connection.pragma_update(None, "temp_store", "MEMORY")
}
