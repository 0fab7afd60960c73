//! The database schema and its migrations.
//!
//! Migrations are numbered and run under an advisory lock: markets that start together take turns. A small migration is
//! one transaction. One that rewrites a table does so in steps of bounded size, each a transaction that also stores how
//! far it has come; if a market is killed half-way, the next one continues there. A market accepts a newer schema if that
//! schema allows it (`min_reader`). So a change takes two releases: a migration first *expands* (adds what
//! older markets can ignore), and a later one *contracts*, when no older market runs any more.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    address::Address,
    connection::{Connection, Session, params},
    convert::{first, get},
    error::Failure,
    name_keys::add_keys,
};
use crate::{OpeningProgress, StoreError};

/// One step of the schema.
struct Migration {
    sql: &'static str,
    /// The steps that follow `sql`, which then only begins the migration.
    steps: Option<Steps>,
    /// The oldest schema version whose markets can work with the result.
    min_reader: i32,
}

/// A table that is rewritten in steps. Older markets may be running meanwhile, so whatever they write must end up in the
/// new form as well, by a trigger for example.
struct Steps {
    step: Step,
    /// A query for the highest key, to tell how far it is.
    last: &'static str,
    /// Statements after the last step.
    finish: &'static str,
}

/// Rewrites the next rows after a key, a bounded number of them.
enum Step {
    /// A statement with the parameter `$1` for the key, which returns the key of the last row, or NULL if there are no
    /// more.
    Sql(&'static str),
    /// What the server can't compute: see [`add_keys`].
    NameKeys,
}

impl Step {
    async fn take(&self, connection: &mut Connection, after: i64) -> Result<Option<i64>, StoreError> {
        match self {
            Self::Sql(sql) => {
                let rows = connection.query(sql, params![after]).await?;
                Ok(first(&rows, |row| get::<Option<i64>>(row, 0))?.flatten())
            }
            Self::NameKeys => add_keys(connection, after).await,
        }
    }

    fn text(&self) -> &'static str {
        match self {
            Self::Sql(sql) => sql,
            Self::NameKeys => "name keys",
        }
    }
}

impl Migration {
    /// Returns everything that the migration does, for its checksum.
    fn text(&self) -> String {
        let steps = self.steps.iter().flat_map(|steps| [steps.step.text(), steps.finish]);
        std::iter::once(self.sql).chain(steps).collect::<Vec<_>>().join("\n")
    }
}

/// All migrations in order. A released one must never change, because its checksum is recorded in databases.
const MIGRATIONS: &[Migration] = &[
    Migration { sql: include_str!("migrations/0001_initial.sql"), steps: None, min_reader: 1 },
    Migration { sql: include_str!("migrations/0002_sums.sql"), steps: Some(SUMS), min_reader: 1 },
    Migration { sql: include_str!("migrations/0003_delivery.sql"), steps: None, min_reader: 1 },
    Migration { sql: include_str!("migrations/0004_archive.sql"), steps: None, min_reader: 1 },
    Migration { sql: include_str!("migrations/0005_clock.sql"), steps: None, min_reader: 1 },
    // An older market would remove events that a named consumer has not received.
    Migration { sql: include_str!("migrations/0006_consumers.sql"), steps: None, min_reader: 6 },
    Migration { sql: include_str!("migrations/0007_back_off.sql"), steps: None, min_reader: 6 },
    Migration { sql: include_str!("migrations/0008_dead_letters.sql"), steps: None, min_reader: 6 },
    Migration { sql: include_str!("migrations/0009_refused_since.sql"), steps: None, min_reader: 6 },
    Migration { sql: include_str!("migrations/0010_told.sql"), steps: None, min_reader: 6 },
    Migration { sql: include_str!("migrations/0011_cancelled.sql"), steps: None, min_reader: 6 },
    // An older market does not check names: while it runs, a party may take a name that is another's.
    Migration { sql: include_str!("migrations/0012_name_keys.sql"), steps: Some(NAME_KEYS), min_reader: 6 },
    Migration { sql: include_str!("migrations/0013_lists.sql"), steps: None, min_reader: 6 },
    // An older market rates items without their class, which the next sweep finds.
    Migration { sql: include_str!("migrations/0014_rank.sql"), steps: None, min_reader: 6 },
    // An older market has the key that all share in a file, and does not look for others.
    Migration { sql: include_str!("migrations/0015_token_keys.sql"), steps: None, min_reader: 6 },
];

/// Checksums of earlier texts of migrations that lead to the same schema: those of databases that were made between two
/// releases. The sums were once added up in one transaction.
const EARLIER_CHECKSUMS: &[(i32, &str)] =
    &[(2, "7e6871591f56a533ea917eef270dbc0422a6591b990ac1a0e7c93f3cb5126fec")];

/// Adds up the present orders. All of them have to be read, and there may be any number.
const SUMS: Steps = Steps {
    step: Step::Sql("SELECT add_sums($1)"),
    last: "SELECT max(id) FROM orders",
    finish: include_str!("migrations/0002_sums_finish.sql"),
};

const NAME_KEYS: Steps = Steps {
    step: Step::NameKeys,
    // Of all ids.
    last: "SELECT 9223372036854775807",
    finish: "",
};

/// Returns the SQL of all migrations, as it is carried out on an empty database.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    let finish = |migration: &'static Migration| migration.steps.as_ref().map(|steps| steps.finish);
    MIGRATIONS.iter().flat_map(move |migration| [migration.sql].into_iter().chain(finish(migration)))
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

/// How far the migration whose steps are under way has come; no row if there is none.
const BEGIN_STEPS: &str =
    "CREATE TABLE IF NOT EXISTS migration (version INTEGER PRIMARY KEY, last BIGINT NOT NULL)";
const STEPS_TABLE: &str =
    "SELECT 1 FROM pg_class WHERE relnamespace = current_schema()::REGNAMESPACE AND relname = 'migration'";
const FIRST_STEP: &str = "INSERT INTO migration (version, last) VALUES ($1, 0)";
const STEP_DONE: &str = "SELECT last FROM migration WHERE version = $1 FOR UPDATE";
const NEXT_STEP: &str = "UPDATE migration SET last = $2 WHERE version = $1";
const LAST_STEP: &str = "DELETE FROM migration WHERE version = $1";
/// Whether a migration has been applied, read in the transaction that is about to.
const IS_APPLIED: &str = "SELECT 1 FROM schema_version WHERE version = $1";

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
    StoreError::unsuitable(problem.into())
}

/// Applies all missing migrations.
pub(super) async fn migrate(address: &Address, progress: &OpeningProgress) -> Result<(), StoreError> {
    migrate_with(address, MIGRATIONS, progress).await
}

async fn migrate_with(
    address: &Address,
    migrations: &[Migration],
    progress: &OpeningProgress,
) -> Result<(), StoreError> {
    let session = Session { prepare: &[], durable: true, gives_up: false };
    let mut connection = Connection::open(address, &session, &tokio::runtime::Handle::current()).await?;
    check_server(&mut connection, address).await?;
    // A session lock: it is released when the session ends, even if this market is killed.
    take_turn(&mut connection, address).await?;
    let known = versions(&mut connection, address, migrations).await?;
    for (number, migration) in (1_i32..).zip(migrations).skip(known) {
        while step(&mut connection, number, migration, progress).await? {}
        tracing::info!(version = number, "migrated the database schema");
    }
    progress.end(migrations.len());
    connection.query(REBASE, Vec::new()).await?;
    connection.query(UNLOCK, Vec::new()).await?;
    Ok(())
}

/// Takes the next step of a migration in one transaction (DDL is transactional in PostgreSQL), and returns whether there
/// are more.
async fn step(
    connection: &mut Connection,
    number: i32,
    migration: &Migration,
    progress: &OpeningProgress,
) -> Result<bool, StoreError> {
    connection.batch("BEGIN").await?;
    // Under the advisory lock nobody else migrates. But that lock is held by a session, and this is what must not
    // happen twice, so it is checked where it happens.
    if !connection.query(IS_APPLIED, params![number]).await?.is_empty() {
        connection.batch("ROLLBACK").await?;
        return Ok(false);
    }
    let done = match &migration.steps {
        None => None,
        Some(_) if connection.query(STEPS_TABLE, Vec::new()).await?.is_empty() => None,
        Some(_) => first(&connection.query(STEP_DONE, params![number]).await?, |row| get(row, 0))?,
    };
    let mut more = false;
    match (&migration.steps, done) {
        (None, _) => connection.batch_within(MIGRATION_PATIENCE, migration.sql).await?,
        (Some(_), None) => {
            connection.batch_within(MIGRATION_PATIENCE, migration.sql).await?;
            connection.batch(BEGIN_STEPS).await?;
            connection.query(FIRST_STEP, params![number]).await?;
            more = true;
            report(progress, number, (0, 1));
        }
        (Some(steps), Some(done)) => more = take_step(connection, (number, done), steps, progress).await?,
    }
    if !more {
        connection.query(NOTE, params![number, migration.min_reader, migration.text()]).await?;
    }
    connection.batch("COMMIT").await?;
    Ok(more)
}

/// Rewrites the next rows, or finishes the migration if there are none. Returns whether there are more.
async fn take_step(
    connection: &mut Connection,
    (number, done): (i32, i64),
    steps: &Steps,
    progress: &OpeningProgress,
) -> Result<bool, StoreError> {
    let Some(next) = steps.step.take(connection, done).await? else {
        connection.batch_within(MIGRATION_PATIENCE, steps.finish).await?;
        connection.query(LAST_STEP, params![number]).await?;
        return Ok(false);
    };
    connection.query(NEXT_STEP, params![number, next]).await?;
    let all = first(&connection.query(steps.last, Vec::new()).await?, |row| get::<Option<i64>>(row, 0))?;
    report(progress, number, (next, all.flatten().unwrap_or(0)));
    Ok(true)
}

fn report(progress: &OpeningProgress, number: i32, (done, all): (i64, i64)) {
    progress.report(usize::try_from(number).unwrap_or(0), done, all);
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
    let session = Session { prepare: &[], durable: true, gives_up: false };
    let mut connection = Connection::open(address, &session, &tokio::runtime::Handle::current()).await?;
    let tables = connection.query(TABLES, Vec::new()).await?;
    let ours: i64 = tables.first().map_or(Ok(0), |row| get(row, 1))?;
    if ours == 0 || versions(&mut connection, address, MIGRATIONS).await? < MIGRATIONS.len() {
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
async fn versions(
    connection: &mut Connection,
    address: &Address,
    migrations: &[Migration],
) -> Result<usize, StoreError> {
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
        match migrations.get(place) {
            Some(migration) => {
                // Computed by the server, like the recorded one, so that the two can't differ for another
                // reason.
                let own = connection.query(CHECKSUM, params![migration.text()]).await?;
                let own: &str = own.first().map_or(Ok(""), |row| get(row, 0))?;
                if own != checksum && !EARLIER_CHECKSUMS.contains(&(version, checksum)) {
                    return Err(refused(format!(
                        "migration {version} of {} is not the one that this market knows; use the version that wrote it",
                        address.shown
                    )));
                }
                done = place + 1;
            }
            None if usize::try_from(min_reader).is_ok_and(|least| least <= migrations.len()) => {
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
                    migrations.len()
                )));
            }
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests;
