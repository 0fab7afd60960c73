//! PostgreSQL for the tests: one private server per run, and one database per test.

#![expect(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

use std::sync::{
    Arc, LazyLock, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use souk_certs::random;
use souk_store::{Store, postgres::PostgresOptions};

use crate::database::DatabaseServer;

/// The environment variable that is set to `skip` where PostgreSQL is not available.
const SETTING: &str = "SOUK_TEST_POSTGRES";
/// The database from which those of the tests are copied.
const TEMPLATE: &str = "souk_template";
/// Settings without durability, which the tests do not need.
pub const SETTINGS: [&str; 5] = [
    "fsync = off",
    "full_page_writes = off",
    "max_connections = 400",
    "shared_buffers = 64MB",
    "autovacuum_naptime = 10s",
];

/// Returns whether there is a server to test on. Without one the tests fail, unless `SOUK_TEST_POSTGRES` is
/// set to `skip`.
pub fn is_there() -> bool {
    let skipped = std::env::var(SETTING).is_ok_and(|setting| setting == "skip");
    if skipped {
        eprintln!("skipped: {SETTING}=skip, because PostgreSQL can't be had");
    }
    !skipped
}

/// A database for one test, which is dropped with this value.
pub struct Database {
    server: Arc<DatabaseServer>,
    name: String,
    address: String,
}

static SERVER: LazyLock<Arc<DatabaseServer>> = LazyLock::new(start);

impl Database {
    /// Creates the database of an empty market.
    pub fn create() -> Self {
        Self::on(Arc::clone(&SERVER))
    }

    /// Like [`Self::create`], on a separate server whose settings may be changed.
    pub fn on_its_own_server() -> Self {
        Self::on(start())
    }

    /// Like [`Self::create`], on a server that was [prepared](ready).
    pub fn on(server: Arc<DatabaseServer>) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::SeqCst));
        in_turn(|| {
            execute(&server, &format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY"))
        });
        Self { address: server.address(&name, None), server, name }
    }

    /// Creates a database without any table.
    pub fn create_bare() -> Self {
        let database = Self::create();
        let bare =
            format!("CREATE DATABASE {} TEMPLATE template0 ENCODING UTF8 STRATEGY FILE_COPY", database.name);
        in_turn(|| {
            execute(&database.server, &format!("DROP DATABASE {}", database.name));
            execute(&database.server, &bare);
        });
        database
    }

    /// Returns the database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its address in the form that `--store` accepts.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Opens the database as a market does.
    pub async fn open(&self) -> Store {
        souk_store::postgres::open(&self.address, &PostgresOptions::default(), random::uuid_v4())
            .await
            .unwrap()
    }

    /// Returns the server of the database.
    pub fn server(&self) -> &DatabaseServer {
        &self.server
    }

    /// Runs SQL as the owner, and returns its output.
    pub fn execute(&self, sql: &str) -> Result<String, String> {
        self.server.psql(&self.name, sql)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A separate server is removed as a whole, and may not respond any more.
        if Arc::strong_count(&self.server) == 1 {
            return;
        }
        // Sessions of a market that was not closed are terminated.
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let _ = in_turn(|| self.server.psql("postgres", &drop));
    }
}

/// Creates or drops one database at a time, as quickly as possible. Meanwhile that is the server's oldest
/// transaction, so no market on the server reads what was committed after it began, and markets wait for that
/// only half a second.
fn in_turn<T>(work: impl FnOnce() -> T) -> T {
    static TURN: Mutex<()> = Mutex::new(());
    // A poisoned lock is safe to use: an earlier holder may have failed, but left no state behind.
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    work()
}

fn start() -> Arc<DatabaseServer> {
    let server = DatabaseServer::start(&SETTINGS)
        .unwrap_or_else(|error| panic!("{error}; or set {SETTING}=skip to leave its tests out"));
    ready(server)
}

/// Prepares a server: creates the database from which those of the tests are copied.
pub fn ready(server: DatabaseServer) -> Arc<DatabaseServer> {
    execute(&server, &format!("CREATE DATABASE {TEMPLATE} TEMPLATE template0 ENCODING UTF8"));
    let address = server.address(TEMPLATE, None);
    // On a separate thread, because the caller may already be in a runtime.
    let migrated = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime
            .block_on(souk_store::postgres::open(&address, &PostgresOptions::default(), random::uuid_v4()))
            .map(|_| ())
            .unwrap();
    });
    migrated.join().unwrap();
    Arc::new(server)
}

fn execute(server: &DatabaseServer, sql: &str) {
    let done = server.psql("postgres", sql);
    assert!(done.is_ok(), "{sql}: {done:?}");
}
