//! The SQLite back end: one file, one market.
//!
//! - The **lane** has its own connection and commits with `synchronous=FULL`: what is acknowledged survives
//!   a power loss.
//! - **Mailboxes** and **tracks** write through a second connection with `synchronous=NORMAL`: its commits
//!   are not synced, and what a power loss forgets is delivered again. The two connections take turns
//!   (`turn`), so that neither meets the other's lock inside SQLite, where waiting means polling.
//! - **Reads** run on read-only connections with their own threads. In WAL mode they never wait for a
//!   writer.
//! - **Checkpoints** run in the background (`checkpoint`), never in a commit.
//! - The **file** is locked (`database_file`). Before anything is acknowledged, the store checks that its
//!   files are still there and that no sync has failed (`open_files`). The next start writes the log again
//!   (`recovery`).

mod archive;
mod audit;
mod backlog;
mod backup;
mod beside;
mod burial;
mod check;
mod checkpoint;
mod claims;
mod clock;
mod compact_orders;
mod consumers;
mod convert;
mod database_file;
mod dead_letters;
mod deliveries;
mod error;
mod expand;
mod kept;
mod lane;
mod load;
mod log_format;
mod log_readers;
mod mailboxes;
mod market_keys;
mod migrate;
mod name_keys;
mod open_files;
mod order_states;
mod orders;
mod ownership;
mod partial;
mod party_numbers;
mod placed;
mod pool;
#[cfg(test)]
mod purchase_cost;
mod purchases;
mod ranking;
#[cfg(test)]
mod rating_cost;
mod reads;
mod recovery;
mod references;
#[cfg(test)]
mod replans;
mod requests;
mod restore;
mod rows;
mod save;
mod schema;
mod settle;
mod shared_index;
mod summary;
mod sums;
mod tracks;
mod turn;
mod upkeep;
mod write_lock;

use std::{path::Path, sync::Arc, time::Duration};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

pub use backup::{BackupProgress, backup};
pub use check::check;
pub use clock::clock_mark;
pub use restore::{Restored, SKIPPED_NUMBERS, restore};

use super::{Health, OpeningProgress, Reads, Store, StoreError, StoreQueues, WriteAheadLog};
use checkpoint::{Checkpointer, Limits};
use database_file::DatabaseFile;
use lane::SqliteLane;
use mailboxes::{SqliteMailboxes, Writer};
use migrate::SchemaProblem;
use open_files::OpenFiles;
use pool::{Pool, QueryWatch};
use reads::SqliteReads;
use turn::{BUSY_SLICE, Turn};
use write_lock::WriteLock;

/// The number of read-only connections for what is found by its key, each with its own thread.
const POINT_READERS: usize = 2;
/// The number of those for lists and sums.
const REPORT_READERS: usize = 2;
/// The maximum number of queries that wait for a reader; more are refused.
const READ_QUEUE: usize = 1_024;
/// The maximum number of queries that share a snapshot. Small, so that a slow one delays few others.
const READS_TOGETHER: usize = 16;
/// The maximum number of mailbox operations that wait for the writer.
const MAILBOX_QUEUE: usize = 1_024;
/// The page cache of each connection in KiB (a negative `cache_size` means KiB).
const CACHE_KIB: i64 = 32 * 1024;
/// The number of prepared statements that each connection caches.
const STATEMENTS: usize = 64;
/// How long a connection waits for another process's lock when it is opened, and later if it only reads. In WAL mode
/// readers meet one only while the log is recovered.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the store in a file, creating it if it does not exist, and brings its schema up to date.
///
/// # Errors
///
/// Fails if another market has the file open, or if the file is damaged, belongs to another program, or was
/// written by a newer market.
pub fn open(path: &Path) -> Result<Store, StoreError> {
    open_reporting(path, &OpeningProgress::default())
}

/// Does the same, and reports how far a migration has come. Blocks, possibly for minutes.
///
/// # Errors
///
/// Fails like [`open`].
pub fn open_reporting(path: &Path, progress: &OpeningProgress) -> Result<Store, StoreError> {
    open_with(path, Limits::DEFAULT, progress)
}

fn open_with(path: &Path, limits: Limits, progress: &OpeningProgress) -> Result<Store, StoreError> {
    // Before anything opens the database: two markets must never migrate it at the same time. Dropped last,
    // also if opening fails.
    let database = DatabaseFile::open(path)?;
    database.close_to_others();
    recovery::renew_log(&database)?;
    let path = &*database.path.clone();
    // Migrations run on the durable connection, before any other is opened.
    let mut connection = connect(path, "FULL", BUSY_TIMEOUT)?;
    recovery::checkpoint(&database, &connection)?;
    schema::migrate(&mut connection, progress).map_err(|problem| problem.at(path))?;
    connection.busy_timeout(BUSY_SLICE).map_err(StoreError::unavailable)?;
    let mailbox_writer = connect(path, "NORMAL", BUSY_SLICE)?;
    limits.apply_to(&[&connection, &mailbox_writer]).map_err(StoreError::unavailable)?;
    let readers = |number: usize| {
        let readers = (0..number).map(|_| connect_read_only(path, OpenFlags::empty()));
        readers.collect::<Result<Vec<_>, _>>().map_err(|problem| problem.at(path))
    };
    let (points, reports) = (readers(POINT_READERS)?, readers(REPORT_READERS)?);
    // It must never wait, because it may hold the writers' turn.
    let background = connect(path, "NORMAL", Duration::ZERO)?;
    let (health, log) = (Health::default(), WriteAheadLog::default());
    let turn = Turn::new(WriteLock::new(health.clone(), path));
    let files = Arc::new(OpenFiles::new(database, health.clone())?);
    let held = Some(Arc::clone(&files));
    let (point_watch, report_watch) = (QueryWatch::of(&points), QueryWatch::of(&reports));
    let checkpointer = Checkpointer::start(checkpoint::Parts {
        connection: background,
        path: path.to_owned(),
        turn: turn.clone(),
        files: Arc::clone(&files),
        queries: [point_watch.clone(), report_watch.clone()],
        log: log.clone(),
        limits,
    })
    .map_err(StoreError::unavailable)?;
    let points = Pool::start("souk-reader", points, READ_QUEUE, (READS_TOGETHER, point_watch), &held)
        .map_err(StoreError::unavailable)?;
    // One at a time: a shared snapshot would last as long as the slowest of them.
    let reports = Pool::start("souk-report", reports, READ_QUEUE, (1, report_watch), &held)
        .map_err(StoreError::unavailable)?;
    let alone = (1, QueryWatch::default());
    let mailboxes = Pool::start("souk-mailbox", vec![mailbox_writer], MAILBOX_QUEUE, alone, &held)
        .map_err(StoreError::unavailable)?;
    let queues = StoreQueues {
        reads: points.waiting(),
        reports: reports.waiting(),
        mailboxes: mailboxes.waiting(),
        sessions: None,
    };
    // The lane holds the checkpointer, because it is dropped last.
    let lane = SqliteLane::new(connection, turn.clone(), checkpointer, Arc::clone(&files));
    let mailboxes = Arc::new(SqliteMailboxes::new(mailboxes, Writer { turn, files }));
    Ok(Store {
        lanes: vec![Box::new(lane)],
        reads: Arc::new(SqliteReads::new(points, reports, Some(mailboxes.clone()))),
        mailboxes: mailboxes.clone(),
        consumers: mailboxes.clone(),
        dead_letters: mailboxes.clone(),
        tracks: mailboxes.clone(),
        clocks: mailboxes.clone(),
        market_keys: mailboxes.clone(),
        upkeep: mailboxes.clone(),
        ranking: mailboxes.clone(),
        archive: mailboxes,
        replicas: None,
        health,
        log: Some(log),
        queues: Some(queues),
    })
}

/// Opens only the queries, alongside a market that may have the file open. Writes nothing.
///
/// A copy on media that can't be written can be read if it has no write-ahead log.
///
/// # Errors
///
/// Fails if the file can't be read, or if its schema is not up to date.
pub fn open_reads(path: &Path) -> Result<Arc<dyn Reads>, StoreError> {
    let pool = || {
        let connections = vec![beside::open(path)?];
        Pool::start("souk-reader", connections, READ_QUEUE, (1, QueryWatch::default()), &None)
            .map_err(StoreError::unavailable)
    };
    Ok(Arc::new(SqliteReads::new(pool()?, pool()?, None)))
}

fn connect(path: &Path, synchronous: &str, busy_timeout: Duration) -> Result<Connection, StoreError> {
    let at = |error: rusqlite::Error| error::named(path, &error);
    let mut connection = Connection::open(path).map_err(at)?;
    configure(&mut connection).map_err(at)?;
    // WAL lets readers work beside a writer. In WAL mode `synchronous=NORMAL` syncs only at checkpoints, and
    // FULL also at each commit.
    connection.pragma_update(None, "journal_mode", "WAL").map_err(at)?;
    connection.pragma_update(None, "synchronous", synchronous).map_err(at)?;
    // The checkpointer does it, outside of commits.
    connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(at)?;
    // A foreign key would be looked up for each row that refers to another one. The rules see both in the same batch, and
    // no row that another one refers to is ever removed. `check` and the tests verify it.
    connection.pragma_update(None, "foreign_keys", false).map_err(at)?;
    // Only now: opening may have to wait for a process that recovers the log.
    connection.busy_timeout(busy_timeout).map_err(at)?;
    Ok(connection)
}

fn connect_read_only(path: &Path, flags: OpenFlags) -> Result<Connection, SchemaProblem> {
    // NO_MUTEX: each connection stays on one thread of the pool, so SQLite need not lock it.
    let flags = flags | OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    configure(&mut connection)?;
    connection.pragma_update(None, "query_only", true)?;
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
    // Not mapped into memory: there, a read error of the disk would kill the process (SIGBUS).
    connection.pragma_update(None, "mmap_size", 0)?;
    // Sorting must not depend on a writable folder for temporary files, nor wait for its disk.
    connection.pragma_update(None, "temp_store", "MEMORY")
}
