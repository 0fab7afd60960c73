//! PostgreSQL for the tests: one private server for each run, and a database of its own for each test.

#![expect(clippy::unwrap_used, reason = "a test whose ground gives way has failed")]

use std::sync::{
    Arc, LazyLock, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use souk_certs::random;
use souk_store::{Store, postgres::PostgresOptions};

use crate::database::DatabaseServer;

/// Set to `skip` where PostgreSQL can't be had.
const SETTING: &str = "SOUK_TEST_POSTGRES";
/// From which the databases of the tests are copied.
const TEMPLATE: &str = "souk_template";
/// Nothing has to survive the tests.
pub const SETTINGS: [&str; 5] = [
    "fsync = off",
    "full_page_writes = off",
    "max_connections = 400",
    "shared_buffers = 64MB",
    "autovacuum_naptime = 10s",
];

/// Returns whether there is a server to test on. Without one the tests fail, unless they were told to leave
/// it out.
pub fn is_there() -> bool {
    let skipped = std::env::var(SETTING).is_ok_and(|setting| setting == "skip");
    if skipped {
        eprintln!("skipped: {SETTING}=skip, because PostgreSQL can't be had");
    }
    !skipped
}

/// A database for one test.
pub struct Database {
    server: Arc<DatabaseServer>,
    name: String,
    address: String,
}

static SERVER: LazyLock<Arc<DatabaseServer>> = LazyLock::new(start);

impl Database {
    /// Returns an empty market's.
    pub fn create() -> Self {
        Self::on(Arc::clone(&SERVER))
    }

    /// Returns the same, on a server of its own that may be set otherwise.
    pub fn on_its_own_server() -> Self {
        Self::on(start())
    }

    /// Returns the same, on a server that was [made ready](ready).
    pub fn on(server: Arc<DatabaseServer>) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::SeqCst));
        in_turn(|| {
            execute(&server, &format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY"))
        });
        Self { address: server.address(&name, None), server, name }
    }

    /// One without any table.
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

    /// Returns its name on the server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its address, as `--store` takes it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Opens it as a market does.
    pub async fn open(&self) -> Store {
        souk_store::postgres::open(&self.address, &PostgresOptions::default(), random::uuid_v4())
            .await
            .unwrap()
    }

    /// Returns the server that it is on.
    pub fn server(&self) -> &DatabaseServer {
        &self.server
    }

    /// Carries SQL out as the owner; answers what it prints.
    pub fn execute(&self, sql: &str) -> Result<String, String> {
        self.server.psql(&self.name, sql)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A server of its own goes whole, and may answer nobody any more.
        if Arc::strong_count(&self.server) == 1 {
            return;
        }
        // The sessions of a market that was not closed are cut.
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let _ = in_turn(|| self.server.psql("postgres", &drop));
    }
}

/// Makes or removes one database at a time, and as quickly as can be. For as long as that takes, the server's oldest
/// transaction is that one, and no market on it reads what was committed after; they wait for half a second only.
fn in_turn<T>(work: impl FnOnce() -> T) -> T {
    static TURN: Mutex<()> = Mutex::new(());
    // Whoever had it before may have failed; the next one's turn it is all the same.
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    work()
}

fn start() -> Arc<DatabaseServer> {
    let server = DatabaseServer::start(&SETTINGS)
        .unwrap_or_else(|error| panic!("{error}; or set {SETTING}=skip to leave its tests out"));
    ready(server)
}

/// Returns a server with the database that those of the tests are copied from.
pub fn ready(server: DatabaseServer) -> Arc<DatabaseServer> {
    execute(&server, &format!("CREATE DATABASE {TEMPLATE} TEMPLATE template0 ENCODING UTF8"));
    let address = server.address(TEMPLATE, None);
    // On a thread of its own: the caller may be in a runtime already.
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
