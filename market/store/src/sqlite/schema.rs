//! The database schema and its migrations. The file's `user_version` is the number of migrations applied.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::error;
use crate::StoreError;

/// The file's `application_id`, which marks it as a market's ("Souk" in ASCII).
const APPLICATION_ID: i64 = 0x536f_756b;

/// All migrations in order. A released one must never change, because files were written with it.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_suspension.sql"),
    include_str!("migrations/0003_audit.sql"),
    include_str!("migrations/0004_order_states.sql"),
    include_str!("migrations/0005_sku.sql"),
    include_str!("migrations/0006_rides.sql"),
    include_str!("migrations/0007_tills.sql"),
    include_str!("migrations/0008_audit_blocks.sql"),
    include_str!("migrations/0009_sums.sql"),
    include_str!("migrations/0010_delivery.sql"),
    include_str!("migrations/0011_archive.sql"),
    include_str!("migrations/0012_consumers.sql"),
    include_str!("migrations/0013_back_off.sql"),
    include_str!("migrations/0014_dead_letters.sql"),
];

/// Why the schema can't be brought up to date.
pub(super) enum SchemaProblem {
    Sqlite(rusqlite::Error),
    /// The file belongs to another program.
    Foreign,
    /// The file was written by a newer market.
    Newer {
        found: usize,
    },
    /// The file was written by an older market, and is opened for reading only.
    Older,
}

impl From<rusqlite::Error> for SchemaProblem {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl SchemaProblem {
    pub(super) fn at(self, path: &Path) -> StoreError {
        let file = path.display();
        match self {
            Self::Sqlite(error) => error::named(path, &error),
            Self::Foreign => {
                StoreError::corrupt(format!("{file} belongs to another program; use another file"))
            }
            Self::Older => StoreError::corrupt(format!(
                "{file} was written by an older market; start this one on it once to bring it up to date"
            )),
            Self::Newer { found } => StoreError::corrupt(format!(
                "{file} was written by a newer market (schema {found}, this one knows {}); use that version",
                MIGRATIONS.len()
            )),
        }
    }
}

/// Applies all missing migrations. Each is one transaction, so that a market that was killed in between
/// resumes.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), SchemaProblem> {
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Read in the transaction that migrates: a version read before may be out of date by now, and the
        // migration would be applied twice.
        let done = version(&transaction)?;
        let Some(migration) = MIGRATIONS.get(done) else { return Ok(()) };
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", (done + 1) as i64)?;
        transaction.commit()?;
    }
}

/// Checks that the file can be read as it is.
pub(super) fn check(connection: &Connection) -> Result<(), SchemaProblem> {
    if version(connection)? < MIGRATIONS.len() { Err(SchemaProblem::Older) } else { Ok(()) }
}

/// Checks that the file is a market's, of this version or an older one.
pub(super) fn known(connection: &Connection) -> Result<(), SchemaProblem> {
    match version(connection)? {
        0 => Err(SchemaProblem::Foreign),
        _ => Ok(()),
    }
}

/// Returns the number of migrations applied.
fn version(connection: &Connection) -> Result<usize, SchemaProblem> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let version = version as usize;
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && tables > 0 {
        return Err(SchemaProblem::Foreign);
    }
    if version > MIGRATIONS.len() {
        return Err(SchemaProblem::Newer { found: version });
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Two openers whose lock fails to keep them apart must not apply a migration twice.
    #[test]
    fn version_is_read_in_the_transaction_that_migrates() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        let mut first = Connection::open(&path).unwrap();
        first.pragma_update(None, "journal_mode", "WAL").unwrap();
        let transaction = first.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        for migration in MIGRATIONS {
            transaction.execute_batch(migration).unwrap();
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64).unwrap();
        let second = std::thread::spawn(move || {
            let mut second = Connection::open(&path).unwrap();
            second.busy_handler(Some(is_blocked)).unwrap();
            migrate(&mut second).is_ok()
        });
        // The second opener has now read all that it reads before its transaction.
        while !BLOCKED.load(Ordering::Relaxed) && !second.is_finished() {
            std::thread::yield_now();
        }
        transaction.commit().unwrap();
        assert!(second.join().unwrap(), "migrated twice");
    }

    static BLOCKED: AtomicBool = AtomicBool::new(false);

    fn is_blocked(_attempts: i32) -> bool {
        BLOCKED.store(true, Ordering::Relaxed);
        std::thread::yield_now();
        true
    }

    /// A file of the first three migrations, with one placed order and one that was cancelled.
    #[test]
    fn migration_keeps_the_orders_of_an_older_market() {
        let mut connection = Connection::open_in_memory().unwrap();
        for migration in &MIGRATIONS[..3] {
            connection.execute_batch(migration).unwrap();
        }
        connection
            .execute_batch(
                "PRAGMA user_version = 3;
                 PRAGMA application_id = 0x536f756b;
                 INSERT INTO party (id, role, display_name, registered_at, epoch)
                     VALUES (randomblob(16), 'seller', 'Alice', 1, 0);
                 INSERT INTO item SELECT 1, id, 'Lamp', 'home', 100, 'GBP', 7, 9, 2, 0, 0, 0, 3, 1, 1, NULL, 1, ''
                     FROM party;
                 INSERT INTO orders SELECT 1, id, 'Bob', id, 'Alice', 1, 'Lamp', 100, 'GBP', 2, 200, 'placed', 5, NULL
                     FROM party;
                 INSERT INTO orders SELECT 2, id, 'Bob', id, 'Alice', 1, 'Lamp', 100, 'GBP', 1, 100, 'cancelled', 6, 7
                     FROM party;",
            )
            .unwrap();
        assert!(migrate(&mut connection).is_ok());
        assert_eq!(version(&connection).ok(), Some(MIGRATIONS.len()));
        let mut rows = connection
            .prepare(
                "SELECT id || status || total_minor || coalesce(cancelled_by, '-') FROM orders ORDER BY id",
            )
            .unwrap();
        let rows: Vec<String> = rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows, ["1placed200-", "2cancelled100buyer"]);
    }
}
