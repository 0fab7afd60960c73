//! The database schema: the list of its migrations. The file's `user_version` is the number of migrations applied.

use rusqlite::Connection;

use super::{
    migrate::{self, Migration, SchemaProblem},
    order_states::ORDER_STATES,
};
use crate::OpeningProgress;

/// All migrations in order. A released one must never change what it makes of a file.
const MIGRATIONS: &[Migration] = &[
    Migration::Script(include_str!("migrations/0001_initial.sql")),
    Migration::Script(include_str!("migrations/0002_suspension.sql")),
    Migration::Script(include_str!("migrations/0003_audit.sql")),
    Migration::Steps(ORDER_STATES),
    Migration::Script(include_str!("migrations/0005_sku.sql")),
    Migration::Script(include_str!("migrations/0006_rides.sql")),
    Migration::Script(include_str!("migrations/0007_tills.sql")),
    Migration::Script(include_str!("migrations/0008_clock.sql")),
];

/// Brings the file up to date. A market that was killed in between continues where it was.
pub(super) fn migrate(connection: &mut Connection, progress: &OpeningProgress) -> Result<(), SchemaProblem> {
    migrate::migrate(connection, MIGRATIONS, progress)
}

/// Checks that the file can be read as it is.
pub(super) fn check(connection: &Connection) -> Result<(), SchemaProblem> {
    let version = migrate::version(connection, MIGRATIONS.len())?;
    // A file whose migration is under way has a higher version, but is as little of use.
    if version == MIGRATIONS.len() { Ok(()) } else { Err(SchemaProblem::Older) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ORDERS: i64 = 12_345;

    /// Creates a file of the first three migrations with an item and many orders, some of them cancelled, and gaps.
    fn old_file() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        for migration in &MIGRATIONS[..3] {
            let Migration::Script(sql) = migration else { panic!("a script") };
            connection.execute_batch(sql).unwrap();
        }
        connection
            .execute_batch(&format!(
                "PRAGMA user_version = 3;
                 PRAGMA application_id = 0x536f756b;
                 INSERT INTO party (id, role, display_name, registered_at, epoch)
                     VALUES (randomblob(16), 'seller', 'Alice', 1, 0);
                 INSERT INTO item SELECT 1, id, 'Lamp', 'home', 100, 'GBP', 7, 9, 2, 0, 0, 0, 3, 1, 1, NULL, 1, ''
                     FROM party;
                 WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {ORDERS})
                 INSERT INTO orders SELECT 3 * i, id, 'Bob', id, 'Alice', 1, 'Lamp', 100, 'GBP', 2, 200,
                     iif(i % 7, 'placed', 'cancelled'), i, iif(i % 7, NULL, i + 1) FROM n, party;"
            ))
            .unwrap();
        connection
    }

    /// Returns everything in a file, except random ids.
    fn contents(connection: &Connection) -> BTreeSet<String> {
        let lines = |sql: &str| -> Vec<String> {
            let mut rows = connection.prepare(sql).unwrap();
            rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        let schema = lines("SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema");
        let orders = lines(
            "SELECT id || status || total_minor || placed_at || coalesce(cancelled_at, '-') ||              coalesce(cancelled_by, '-') FROM orders",
        );
        schema.into_iter().chain(orders).collect()
    }

    /// Migrates as released markets did: 0004 as one script.
    fn migrated_as_released() -> BTreeSet<String> {
        let connection = old_file();
        connection.execute_batch(include_str!("migrations/0004_order_states.sql")).unwrap();
        connection.pragma_update(None, "user_version", 4).unwrap();
        let mut connection = connection;
        assert!(migrate(&mut connection, &OpeningProgress::default()).is_ok());
        contents(&connection)
    }

    #[test]
    fn migration_in_steps_makes_what_the_released_one_made() {
        let mut connection = old_file();
        assert!(migrate(&mut connection, &OpeningProgress::default()).is_ok());
        assert_eq!(migrate::version(&connection, MIGRATIONS.len()).ok(), Some(MIGRATIONS.len()));
        let contents = contents(&connection);
        assert!(contents.iter().any(|line| line.starts_with("3placed2001--")), "{}", contents.len());
        assert!(contents.iter().any(|line| line.starts_with("21cancelled20078buyer")), "{}", contents.len());
        assert_eq!(contents, migrated_as_released());
    }

    /// Interrupted after each step: what was not committed is rolled back, and the rest continues.
    #[test]
    fn interrupted_migration_continues_where_it_was() {
        let mut connection = old_file();
        let (mut steps, mut seen) = (0, Vec::new());
        loop {
            // As a new process, which knows nothing of the steps before.
            let progress = OpeningProgress::default();
            if !migrate::step(&mut connection, MIGRATIONS, &progress).ok().unwrap() {
                break;
            }
            steps += 1;
            seen.extend(progress.migrating());
            let is_usable = check(&connection).is_ok();
            assert_eq!(is_usable, steps == 14, "a reader refuses a file that is half migrated");
        }
        // 0004: the beginning, three parts of the table and its end, four scripts, and the end. Four more migrations.
        assert_eq!(steps, 1 + 4 + 4 + 1 + 4);
        assert!(seen.is_sorted_by_key(|state| state.percent) && seen[1].percent > 30, "{seen:?}");
        assert_eq!(seen[1].to_string(), "migrating: 0004 40 %");
        assert_eq!(contents(&connection), migrated_as_released());
    }

    /// Released markets know up to seven migrations.
    #[test]
    fn older_market_refuses_a_file_that_is_half_migrated() {
        let mut connection = old_file();
        for _ in 0..3 {
            assert!(
                migrate::step(&mut connection, MIGRATIONS, &OpeningProgress::default())
                    .is_ok_and(|more| more)
            );
        }
        let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert!(version > 1_000, "it takes it for the file of a newer market: {version}");
    }
}
