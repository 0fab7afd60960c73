//! The database schema and its migrations.
//!
//! Migrations are numbered, and each is one transaction under an advisory lock: markets that start together
//! take turns, and if one is killed half-way, the next continues. A market accepts a newer schema if that
//! schema allows it (`min_reader`). So a change takes two releases: a migration first *expands* (adds what
//! older markets can ignore), and a later one *contracts*, when no older market runs any more.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    address::Address,
    connection::{Connection, Session},
    convert::get,
    error::Failure,
};
use crate::StoreError;

/// One step of the schema.
struct Migration {
    sql: &'static str,
    /// The oldest schema version whose markets can work with the result.
    min_reader: i32,
}

/// All migrations in order. A released one must never change, because its checksum is recorded in databases.
const MIGRATIONS: &[Migration] = &[
    Migration { sql: include_str!("migrations/0001_initial.sql"), min_reader: 1 },
    Migration { sql: include_str!("migrations/0002_sums.sql"), min_reader: 1 },
    Migration { sql: include_str!("migrations/0003_delivery.sql"), min_reader: 1 },
    Migration { sql: include_str!("migrations/0004_archive.sql"), min_reader: 1 },
    // An older market would remove events that a named consumer has not received.
    Migration { sql: include_str!("migrations/0005_consumers.sql"), min_reader: 5 },
    Migration { sql: include_str!("migrations/0006_back_off.sql"), min_reader: 5 },
    Migration { sql: include_str!("migrations/0007_dead_letters.sql"), min_reader: 5 },
];

/// Returns the SQL of all migrations.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    MIGRATIONS.iter().map(|migration| migration.sql)
}

/// The oldest supported server version, in the format of `server_version_num`.
const MIN_SERVER: i32 = 150_000;

/// The lock of the migrating session. It is polled: waiting for it in the server would end with the session's
/// `lock_timeout`, long before another market's large migration does.
const LOCK: &str = "SELECT pg_try_advisory_lock(1936682347, 1)";
/// How often the migration lock is polled.
const LOCK_LOOK: Duration = Duration::from_millis(200);
/// How long to wait for another market's migrations; also the time limit of a single migration.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(3_600);
const UNLOCK: &str = "SELECT pg_advisory_unlock(1936682347, 1)";

const SERVER: &str =
    "SELECT current_setting('server_version_num')::INTEGER, current_setting('server_encoding')";

/// Counts all tables, and those named like ours.
const TABLES: &str = "SELECT count(*), count(*) FILTER (WHERE relname = 'schema_version') FROM pg_class \
                      WHERE relnamespace = current_schema()::REGNAMESPACE AND relkind IN ('r', 'p')";

const BEGIN_LEDGER: &str = "CREATE TABLE schema_version (version INTEGER PRIMARY KEY, min_reader INTEGER NOT NULL, \
                            checksum TEXT NOT NULL, applied_at TIMESTAMPTZ NOT NULL DEFAULT now())";

const VERSIONS: &str = "SELECT version, min_reader, checksum FROM schema_version ORDER BY version";

const NOTE: &str = "INSERT INTO schema_version (version, min_reader, checksum) \
                    VALUES ($1, $2, encode(sha256(convert_to($3, 'UTF8')), 'hex'))";

const CHECKSUM: &str = "SELECT encode(sha256(convert_to($1, 'UTF8')), 'hex')";

/// Raises the base of all places if needed. A database that was restored into another cluster has
/// transaction ids that count from a lower number, so new places would lie behind those that readers have
/// seen. Changes nothing otherwise.
const REBASE: &str = "UPDATE place_base SET base = last.place + 1 \
     FROM (SELECT greatest((SELECT max(feed_position) FROM item), (SELECT max(place) FROM audit_line)) AS place) AS last \
     WHERE last.place >= base + ((pg_current_xact_id()::TEXT::BIGINT + 1) << 20)";

/// Creates the error for a database that can't be used.
fn refused(problem: impl Into<String>) -> StoreError {
    StoreError::corrupt(problem.into())
}

/// Applies all missing migrations.
pub(super) async fn migrate(address: &Address) -> Result<(), StoreError> {
    let session = Session { prepare: &[], durable: true };
    let mut connection = Connection::open(address, &session, &tokio::runtime::Handle::current()).await?;
    check_server(&mut connection, address).await?;
    // A session lock: it is released when the session ends, even if this market is killed.
    take_turn(&mut connection, address).await?;
    let known = versions(&mut connection, address).await?;
    for (number, migration) in (1_i32..).zip(MIGRATIONS).skip(known) {
        connection.batch("BEGIN").await?;
        // The migration and its record are one transaction (DDL is transactional in PostgreSQL), so that a
        // kill in between leaves neither.
        connection.batch_within(MIGRATION_PATIENCE, migration.sql).await?;
        let noted = super::connection::params![number, migration.min_reader, migration.sql];
        connection.query(NOTE, noted).await?;
        connection.batch("COMMIT").await?;
        tracing::info!(version = number, "migrated the database schema");
    }
    connection.query(REBASE, Vec::new()).await?;
    connection.query(UNLOCK, Vec::new()).await?;
    Ok(())
}

async fn take_turn(connection: &mut Connection, address: &Address) -> Result<(), StoreError> {
    let deadline = Instant::now() + MIGRATION_PATIENCE;
    let mut was_logged = false;
    loop {
        let rows = connection.query(LOCK, Vec::new()).await?;
        if rows.first().map_or(Ok(false), |row| get(row, 0))? {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(StoreError::unavailable(format!(
                "another market has been migrating {} for an hour; check that it still makes progress",
                address.shown
            )));
        }
        if !was_logged {
            tracing::info!("another market is migrating the database; waiting for it");
            was_logged = true;
        }
        sleep(LOCK_LOOK).await;
    }
}

/// Checks that the database can be read as it is.
pub(super) async fn check(address: &Address) -> Result<(), StoreError> {
    let session = Session { prepare: &[], durable: true };
    let mut connection = Connection::open(address, &session, &tokio::runtime::Handle::current()).await?;
    let tables = connection.query(TABLES, Vec::new()).await?;
    let ours: i64 = tables.first().map_or(Ok(0), |row| get(row, 1))?;
    if ours == 0 || versions(&mut connection, address).await? < MIGRATIONS.len() {
        return Err(refused(format!(
            "{} was not brought up to date; start a market of this version on it once",
            address.shown
        )));
    }
    Ok(())
}

async fn check_server(connection: &mut Connection, address: &Address) -> Result<(), StoreError> {
    let rows = connection.query(SERVER, Vec::new()).await?;
    let Some(row) = rows.first() else { return Err(refused("the server does not report its version")) };
    let (version, encoding): (i32, &str) = (get(row, 0)?, get(row, 1)?);
    if version < MIN_SERVER {
        return Err(refused(format!(
            "the server at {} is older than PostgreSQL {}; use a newer one",
            address.shown,
            MIN_SERVER / 10_000
        )));
    }
    if encoding != "UTF8" {
        return Err(refused(format!(
            "{} is encoded as {encoding}; create it with ENCODING UTF8",
            address.shown
        )));
    }
    Ok(())
}

/// Returns how many of the migrations that this market knows have been applied, and checks their checksums.
async fn versions(connection: &mut Connection, address: &Address) -> Result<usize, StoreError> {
    let tables = connection.query(TABLES, Vec::new()).await?;
    let (all, ours): (i64, i64) = tables
        .first()
        .map_or(Ok((0, 0)), |row| Ok((get(row, 0)?, get(row, 1)?)))
        .map_err(Failure::into_store_error)?;
    if ours == 0 {
        if all > 0 {
            return Err(refused(format!(
                "{} holds another program's tables; give the market a database of its own",
                address.shown
            )));
        }
        connection.batch(BEGIN_LEDGER).await?;
    }
    let mut done = 0;
    for row in connection.query(VERSIONS, Vec::new()).await? {
        let (version, min_reader, checksum): (i32, i32, &str) = (get(&row, 0)?, get(&row, 1)?, get(&row, 2)?);
        let place = usize::try_from(version - 1).unwrap_or(usize::MAX);
        match MIGRATIONS.get(place) {
            Some(migration) => {
                // Computed by the server, like the recorded one, so that the two can't differ for another
                // reason.
                let own = connection.query(CHECKSUM, super::connection::params![migration.sql]).await?;
                let own: &str = own.first().map_or(Ok(""), |row| get(row, 0))?;
                if own != checksum {
                    return Err(refused(format!(
                        "migration {version} of {} is not the one that this market knows; use the version that wrote it",
                        address.shown
                    )));
                }
                done = place + 1;
            }
            None if usize::try_from(min_reader).is_ok_and(|least| least <= MIGRATIONS.len()) => {
                tracing::info!(
                    version,
                    "the database schema is newer than this market, and compatible with it"
                );
            }
            None => {
                return Err(refused(format!(
                    "{} was brought forward by a newer market (schema {version}, for markets of schema {min_reader} or \
                     later, this one knows {}); use that version",
                    address.shown,
                    MIGRATIONS.len()
                )));
            }
        }
    }
    Ok(done)
}
