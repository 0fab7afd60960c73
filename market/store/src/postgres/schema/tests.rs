//! Migrations in steps, interrupted and beside older markets.

use souk_testkit::{database::DatabaseServer, postgres::is_there};

use super::*;
use crate::postgres::PostgresOptions;

const ROWS: i64 = 40_000;

/// Rewrites a table in steps of 100 rows, and counts how often each row was rewritten.
const TEST_MIGRATIONS: &[Migration] = &[
    Migration { sql: include_str!("../migrations/0001_initial.sql"), steps: None, min_reader: 1 },
    Migration {
        sql: "CREATE TABLE old_row AS SELECT generate_series(1, 40000)::BIGINT AS id; \
              CREATE TABLE new_row (id BIGINT NOT NULL)",
        steps: Some(Steps {
            step: Step::Sql(
                "WITH part AS (SELECT id FROM old_row WHERE id > $1 ORDER BY id LIMIT 100), \
                 moved AS (INSERT INTO new_row SELECT id FROM part) SELECT max(id) FROM part",
            ),
            last: "SELECT max(id) FROM old_row",
            finish: "DROP TABLE old_row; ALTER TABLE new_row ADD PRIMARY KEY (id)",
        }),
        min_reader: 1,
    },
];

/// Starts a server with an empty database. `None` if there is no PostgreSQL.
fn empty_database() -> Option<DatabaseServer> {
    if !is_there() {
        return None;
    }
    let server = DatabaseServer::start(&["fsync = off"]).unwrap();
    server.psql("postgres", "CREATE DATABASE souk TEMPLATE template0 ENCODING UTF8").unwrap();
    Some(server)
}

fn address_of(server: &DatabaseServer) -> Address {
    Address::read(&server.address("souk", None), &PostgresOptions::default()).unwrap()
}

/// Two markets start at once, and the one that migrates is killed again and again.
#[tokio::test]
async fn interrupted_migration_continues_where_it_was_and_runs_once() {
    let Some(server) = empty_database() else { return };
    let open = || address_of(&server);
    let mut reached = 0;
    for kill in 1..=4 {
        let (address, progress) = (open(), OpeningProgress::default());
        let seen = progress.clone();
        let migrating = tokio::spawn(async move { migrate_with(&address, TEST_MIGRATIONS, &progress).await });
        // Each time a little further.
        while seen.migrating().is_none_or(|state| state.number < 2 || state.percent < kill * 5) {
            tokio::task::yield_now().await;
        }
        migrating.abort();
        assert!(migrating.await.is_err_and(|error| error.is_cancelled()));
        let last = server.psql("souk", "SELECT last FROM migration").unwrap().parse::<i64>().unwrap();
        assert!(last > reached && last < ROWS, "{last} after {reached}");
        reached = last;
    }
    let (one, other, progress) = (open(), open(), OpeningProgress::default());
    let (one, other) = tokio::join!(
        migrate_with(&one, TEST_MIGRATIONS, &progress),
        migrate_with(&other, TEST_MIGRATIONS, &progress)
    );
    one.unwrap();
    other.unwrap();
    // The primary key, which was added at the end, also proves that no row was rewritten twice.
    assert_eq!(server.psql("souk", "SELECT count(*) FROM new_row").unwrap(), ROWS.to_string());
    assert_eq!(server.psql("souk", "SELECT count(*) FROM schema_version").unwrap(), "2");
    assert_eq!(server.psql("souk", "SELECT count(*) FROM migration").unwrap(), "0");
    assert_eq!(progress.migrating(), None);
}

/// Between the steps, a market of the version before trades: it places orders, and cancels some that are in the sums
/// already and some that are not.
#[tokio::test]
async fn sums_are_those_of_all_orders_whatever_older_markets_do_meanwhile() {
    let Some(server) = empty_database() else { return };
    let (address, progress) = (address_of(&server), OpeningProgress::default());
    let (first, sums) = (&MIGRATIONS[..1], &MIGRATIONS[1]);
    migrate_with(&address, first, &progress).await.unwrap();
    let place = |ids: &str| {
        format!(
            "INSERT INTO orders SELECT id, gen_random_uuid(), 'Bob', md5((id % 3)::TEXT)::UUID, 'Alice', id % 5, 'Lamp', \
             id, 'GBP', 2, 2 * id, CASE WHEN id % 7 = 0 THEN 'cancelled' ELSE 'placed' END, id * 40000000 \
             FROM {ids} AS id"
        )
    };
    server.psql("souk", &place("generate_series(10::BIGINT, 12000)")).unwrap();
    let session = Session { prepare: &[], durable: true, gives_up: false };
    let mut connection =
        Connection::open(&address, &session, &tokio::runtime::Handle::current()).await.unwrap();
    let mut steps = 0;
    while step(&mut connection, 2, sums, &progress).await.unwrap() {
        steps += 1;
        // One that lies before the orders that are added, and one after them.
        if steps <= 3 {
            let ids = format!("unnest(ARRAY[{steps}, {}]::BIGINT[])", 20_000 + steps);
            server.psql("souk", &place(&ids)).unwrap();
        }
        let cancel = format!("UPDATE orders SET status = 'cancelled' WHERE id % 11 = {steps}");
        server.psql("souk", &cancel).unwrap();
    }
    assert_eq!(steps, 1 + 3, "the beginning, and three parts");
    // From now on the triggers count everything.
    server.psql("souk", &place("unnest(ARRAY[9, 30000]::BIGINT[])")).unwrap();
    server.psql("souk", "UPDATE orders SET status = 'cancelled' WHERE id % 13 = 1").unwrap();
    let differing = "SELECT count(*) FROM (SELECT seller, placed_at / 86400000000 AS day, item, currency, count(*) AS orders, \
         sum(quantity) AS units, sum(total_minor) AS amount_minor FROM orders WHERE status <> 'cancelled' \
         GROUP BY 1, 2, 3, 4) AS sold FULL JOIN (SELECT * FROM sales WHERE orders <> 0) AS kept USING \
         (seller, day, item, currency, orders, units, amount_minor) WHERE sold IS NULL OR kept IS NULL";
    assert_eq!(server.psql("souk", differing).unwrap(), "0");
    assert_eq!(server.psql("souk", "SELECT sum(orders) > 5000 FROM sales").unwrap(), "t");
}

/// Before streams were recorded, only a stream can have acknowledged what a mailbox without a callback has lost.
#[tokio::test]
async fn earlier_listener_counts_from_the_migration_on() {
    let Some(server) = empty_database() else { return };
    let (address, progress) = (address_of(&server), OpeningProgress::default());
    migrate_with(&address, &MIGRATIONS[..5], &progress).await.unwrap();
    server.psql("souk", "UPDATE clock SET steady = 77").unwrap();
    let mailboxes = "INSERT INTO mailbox (party, role, acknowledged, callback_host, callback_port) VALUES \
         (md5('1')::UUID, 'buyer', 5, NULL, NULL), (md5('2')::UUID, 'buyer', 0, NULL, NULL), \
         (md5('3')::UUID, 'buyer', 6, 'bob', 7444)";
    server.psql("souk", mailboxes).unwrap();
    migrate(&address, &progress).await.unwrap();
    let counted =
        "SELECT string_agg(acknowledged || ' ' || stream_until, ', ' ORDER BY acknowledged) FROM mailbox";
    assert_eq!(server.psql("souk", counted).unwrap(), "0 0, 5 77, 6 0");
}

/// Of the parties with one name, one has its key. All keep the name.
#[tokio::test]
async fn each_name_is_given_to_one_party() {
    let Some(server) = empty_database() else { return };
    let (address, progress) = (address_of(&server), OpeningProgress::default());
    migrate_with(&address, &MIGRATIONS[..11], &progress).await.unwrap();
    // More than a step takes, with ids in the whole range.
    let parties = "INSERT INTO party (id, role, display_name, registered_at, epoch, revision) \
         SELECT md5(n::TEXT)::UUID, 'seller', 'Seller ' || n % 6000, 0, 0, 0 FROM generate_series(1, 12000) AS n";
    server.psql("souk", parties).unwrap();
    migrate(&address, &progress).await.unwrap();
    let counted = "SELECT concat_ws(' ', count(*), count(name_key), count(DISTINCT display_name)) FROM party";
    assert_eq!(server.psql("souk", counted).unwrap(), "12000 6000 6000");
}

/// A database that was made between two releases, by another text of a migration that leads to the same schema.
#[tokio::test]
async fn database_of_an_earlier_text_of_a_migration_is_accepted() {
    let Some(server) = empty_database() else { return };
    let (address, progress) = (address_of(&server), OpeningProgress::default());
    migrate(&address, &progress).await.unwrap();
    let (version, checksum) = EARLIER_CHECKSUMS[0];
    let record = |checksum: &str| {
        let sql = format!("UPDATE schema_version SET checksum = '{checksum}' WHERE version = {version}");
        server.psql("souk", &sql).unwrap();
    };
    record(checksum);
    migrate(&address, &progress).await.unwrap();
    record("0000");
    assert!(migrate(&address, &progress).await.is_err());
}
