//! The database schema: the list of its migrations. The file's `user_version` is the number of migrations applied.

use rusqlite::Connection;

use super::{
    compact_orders::COMPACT_ORDERS,
    migrate::{self, Migration, SchemaProblem},
    name_keys::NAME_KEYS,
    order_states::ORDER_STATES,
    party_numbers::PARTY_NUMBERS,
    references::REFERENCES,
    sums::SUMS,
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
    Migration::Script(include_str!("migrations/0008_audit_blocks.sql")),
    Migration::Steps(SUMS),
    Migration::Script(include_str!("migrations/0010_delivery.sql")),
    Migration::Script(include_str!("migrations/0011_archive.sql")),
    Migration::Script(include_str!("migrations/0012_clock.sql")),
    Migration::Script(include_str!("migrations/0013_consumers.sql")),
    Migration::Script(include_str!("migrations/0014_back_off.sql")),
    Migration::Script(include_str!("migrations/0015_dead_letters.sql")),
    Migration::Steps(PARTY_NUMBERS),
    Migration::Steps(COMPACT_ORDERS),
    Migration::Script(include_str!("migrations/0018_refused_since.sql")),
    Migration::Script(include_str!("migrations/0019_told.sql")),
    Migration::Steps(NAME_KEYS),
    Migration::Script(include_str!("migrations/0021_lists.sql")),
    Migration::Steps(REFERENCES),
    Migration::Script(include_str!("migrations/0023_rank.sql")),
    Migration::Script(include_str!("migrations/0024_token_keys.sql")),
];

/// Brings the file up to date. A market that was killed in between continues where it was.
pub(super) fn migrate(connection: &mut Connection, progress: &OpeningProgress) -> Result<(), SchemaProblem> {
    migrate::migrate(connection, MIGRATIONS, progress)
}

/// Checks that the file can be read as it is.
pub(super) fn check(connection: &Connection) -> Result<(), SchemaProblem> {
    match migrate::version(connection, MIGRATIONS.len())? {
        0 => Err(SchemaProblem::Empty),
        version if version == MIGRATIONS.len() => Ok(()),
        // A file whose migration is under way has a higher version, but can't be used either.
        _ => Err(SchemaProblem::Older),
    }
}

/// Checks that the file is a market's, of this version or an older one.
pub(super) fn known(connection: &Connection) -> Result<(), SchemaProblem> {
    match migrate::version(connection, MIGRATIONS.len())? {
        0 => Err(SchemaProblem::Empty),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        sync::atomic::{AtomicBool, Ordering},
    };

    use rusqlite::{Row, TransactionBehavior};

    use super::{
        super::convert::{ORDER, ORDER_PARTIES},
        *,
    };

    /// Two openers whose lock fails to keep them apart must not apply a migration twice.
    #[test]
    fn version_is_read_in_the_transaction_that_migrates() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        let mut first = Connection::open(&path).unwrap();
        first.pragma_update(None, "journal_mode", "WAL").unwrap();
        let scripts =
            MIGRATIONS.iter().rposition(|migration| matches!(migration, Migration::Script(_))).unwrap();
        let known = &MIGRATIONS[..=scripts];
        let (before, last) = known.split_at(scripts);
        assert!(migrate::migrate(&mut first, before, &OpeningProgress::default()).is_ok());
        let [Migration::Script(last)] = last else { panic!("a script") };
        let transaction = first.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        transaction.execute_batch(last).unwrap();
        transaction.pragma_update(None, "user_version", known.len() as i64).unwrap();
        let second = std::thread::spawn(move || {
            let mut second = Connection::open(&path).unwrap();
            second.busy_handler(Some(is_blocked)).unwrap();
            migrate::migrate(&mut second, known, &OpeningProgress::default()).is_ok()
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

    const ORDERS: i64 = 12_345;
    const BYSTANDERS: i64 = 6_000;

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
                     VALUES (CAST('seller of a lamp' AS BLOB), 'seller', 'Alice', 1, 0),
                     (CAST('buyer of the one' AS BLOB), 'buyer', 'Bob', 1, 0);
                 WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {BYSTANDERS})
                 INSERT INTO party (id, role, display_name, registered_at, epoch)
                     SELECT CAST(printf('bystander %06d', i) AS BLOB), 'buyer', 'Dave', 1, 0 FROM n;
                 INSERT INTO item SELECT 1, id, 'Lamp', 'home', 100, 'GBP', 7, 9, 2, 0, 0, 0, 3, 1, 1, NULL, 1, ''
                     FROM party WHERE role = 'seller';
                 WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {ORDERS})
                 INSERT INTO orders SELECT 3 * i, buyer.id, iif(i % 5, 'Bob', 'Robert'), seller.id, 'Alice', 1,
                     iif(i > 9, 'Lamp', 'Light'), 3000000000, 'GBP', 2,
                     6000000000, iif(i % 7, 'placed', 'cancelled'), 40000000 * i, iif(i % 7, NULL, i + 1)
                     FROM n, party AS seller, party AS buyer
                     WHERE seller.role = 'seller' AND buyer.display_name = 'Bob';"
            ))
            .unwrap();
        connection
    }

    fn lines(connection: &Connection, sql: &str) -> Vec<String> {
        let mut rows = connection.prepare(sql).unwrap();
        rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// Returns the schema of a file, its orders and the sums of these.
    fn contents(connection: &Connection) -> BTreeSet<String> {
        let lines = |sql| lines(connection, sql);
        let schema = lines("SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema");
        let orders = lines(
            "SELECT id || status || total_minor || placed_at || coalesce(cancelled_at, '-') || \
             coalesce(cancelled_by, '-') || concat_ws(' ', '', buyer, buyer_name, seller, seller_name) FROM orders",
        );
        schema.into_iter().chain(orders).chain(sums(connection)).collect()
    }

    /// Returns the sums that are kept.
    fn sums(connection: &Connection) -> Vec<String> {
        lines(
            connection,
            "SELECT concat_ws(' ', day, item, currency, orders, units, amount_high, amount_low) FROM sales UNION ALL \
             SELECT concat_ws(' ', parties, items, orders, supplied, sold, ordered, remaining, withdrawn) FROM total",
        )
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
        assert!(
            contents.iter().any(|line| line.starts_with("3placed600000000040000000--")),
            "{}",
            contents.len()
        );
        assert!(
            contents.iter().any(|line| line.starts_with("21cancelled60000000002800000008buyer")),
            "{}",
            contents.len()
        );
        assert_eq!(contents, migrated_as_released());
    }

    /// Orders have the same parties as before, and the names that these had then.
    #[test]
    fn migration_in_steps_keeps_names_and_parties() {
        let names = |connection: &Connection, columns: &str, parties: &str| {
            let sql = format!("SELECT {columns} FROM orders {parties}");
            let mut rows = connection.prepare(&sql).unwrap();
            let name = |row: &Row<'_>, column| row.get::<_, String>(column);
            let id = |row: &Row<'_>, column| row.get::<_, [u8; 16]>(column);
            let read = |row: &Row<'_>| {
                let names = (name(row, 2)?, name(row, 4)?, name(row, 6)?);
                Ok((row.get::<_, i64>(0)?, id(row, 1)?, id(row, 3)?, names))
            };
            rows.query_map([], read).unwrap().map(Result::unwrap).collect::<BTreeSet<_>>()
        };
        let mut connection = old_file();
        let before = names(&connection, "id, buyer, buyer_name, seller, seller_name, item, item_name", "");
        assert!(migrate(&mut connection, &OpeningProgress::default()).is_ok());
        let after = names(&connection, ORDER, ORDER_PARTIES);
        assert_eq!(after.len() as i64, ORDERS);
        assert!(after == before);
        let kept = lines(&connection, "SELECT DISTINCT buyer_name FROM orders WHERE buyer_name IS NOT NULL");
        assert_eq!(kept, ["Robert"], "only names that are not the present ones");
        let numbers =
            "SELECT concat_ws(' ', min(number), max(number), count(DISTINCT number), count(*)) FROM party";
        let parties = BYSTANDERS + 2;
        assert_eq!(lines(&connection, numbers), [format!("1 {parties} {parties} {parties}")]);
    }

    /// Of many parties with one name, one has its key. All keep the name.
    #[test]
    fn migration_in_steps_gives_each_name_to_one_party() {
        let mut connection = old_file();
        assert!(migrate(&mut connection, &OpeningProgress::default()).is_ok());
        let keys =
            lines(&connection, "SELECT name_key FROM party WHERE name_key IS NOT NULL ORDER BY name_key");
        assert_eq!(keys, ["allce", "bob", "dave"]);
        let names =
            "SELECT concat_ws(' ', display_name, count(*)) FROM party GROUP BY display_name ORDER BY 1";
        assert_eq!(lines(&connection, names), ["Alice 1", "Bob 1", &format!("Dave {BYSTANDERS}")]);
    }

    /// The sums are those of all orders, whatever steps they were added in.
    #[test]
    fn migration_in_steps_adds_up_all_orders() {
        let mut connection = old_file();
        assert!(migrate(&mut connection, &OpeningProgress::default()).is_ok());
        let expected = lines(
            &connection,
            "SELECT concat_ws(' ', placed_at / 86400000000, item, currency, count(*), sum(quantity), \
             sum(total_minor >> 32), sum(total_minor & 4294967295)) \
             FROM orders WHERE status <> 'cancelled' GROUP BY seller, placed_at / 86400000000, item, currency UNION ALL \
             SELECT concat_ws(' ', (SELECT count(*) FROM party), count(*), (SELECT count(*) FROM orders), sum(supplied), \
             sum(sold), (SELECT sum(quantity) FROM orders WHERE status <> 'cancelled'), sum(quantity), sum(withdrawn)) \
             FROM item",
        );
        assert_eq!(expected.len(), 7, "six days and the total");
        assert_eq!(sums(&connection), expected);
    }

    /// Before streams were recorded, only a stream can have acknowledged what a mailbox without a callback has lost.
    #[test]
    fn earlier_listener_counts_from_the_migration_on() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(migrate::migrate(&mut connection, &MIGRATIONS[..12], &OpeningProgress::default()).is_ok());
        let mailboxes = "UPDATE clock SET steady = 77;
             INSERT INTO mailbox (party, role, acknowledged, callback_host, callback_port) VALUES
                 (x'01', 'buyer', 5, NULL, NULL), (x'02', 'buyer', 0, NULL, NULL), (x'03', 'buyer', 5, 'bob', 7444);";
        connection.execute_batch(mailboxes).unwrap();
        assert!(migrate(&mut connection, &OpeningProgress::default()).is_ok());
        let until = lines(&connection, "SELECT CAST(stream_until AS TEXT) FROM mailbox ORDER BY party");
        assert_eq!(until, ["77", "0", "0"]);
    }

    /// Interrupted after each step: what was not committed is rolled back, and the rest continues.
    #[test]
    fn interrupted_migration_continues_where_it_was() {
        // The beginning, three parts of the table (two of the parties), its end, the scripts, and the end; and all others.
        const ORDER_STATES: usize = 1 + 3 + 1 + 4 + 1;
        const SUMS: usize = 1 + 3 + 1 + 1;
        const PARTY_NUMBERS: usize = 1 + 2 + 1 + 1;
        const NAME_KEYS: usize = 1 + 2 + 1 + 1;
        const REFERENCES: usize = 1 + 1 + 4 + 1;
        const ALL: usize =
            2 * ORDER_STATES + 1 + SUMS + PARTY_NUMBERS + NAME_KEYS + REFERENCES + (MIGRATIONS.len() - 3 - 6);
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
            assert_eq!(is_usable, steps == ALL, "a reader refuses a file that is half migrated");
        }
        assert_eq!(steps, ALL);
        assert!(seen.is_sorted_by_key(|state| (state.number, state.percent)), "{seen:?}");
        assert_eq!(seen[0].to_string(), "migrating: 0004 40 %");
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
