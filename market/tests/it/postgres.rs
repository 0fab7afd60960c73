//! A PostgreSQL server for the tests: started once for each run, in a temporary folder, and gone with the run.
//!
//! It listens on a socket in its folder alone and does not flush to the disk. A shell beside it waits for the end of
//! the tests, whatever it is, by an end of file on its standard input; then it stops the server and removes the
//! folder.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use market::store::{self, Store, postgres::PostgresOptions};
use tokio::time::Instant;

use crate::fair::PATIENCE;

/// Set to `skip` where PostgreSQL can't be had.
const SETTING: &str = "SOUK_TEST_POSTGRES";
/// The oldest version that is supported.
const MIN_VERSION: u32 = 15;
/// From which the databases of the tests are copied.
const TEMPLATE: &str = "souk_template";

/// Stops the server and removes its folder when the tests have ended.
const WATCH: &str = r#"
"$1"/postgres -D "$2"/data >"$2"/log 2>&1 &
server=$!
cat >/dev/null
kill -INT $server
wait $server
rm -rf "$2"
"#;

/// Whether there is a server to test on. Without one the tests fail, unless they were told to leave it out.
pub(crate) fn is_there() -> bool {
    let skipped = std::env::var(SETTING).is_ok_and(|setting| setting == "skip");
    if skipped {
        eprintln!("skipped: {SETTING}=skip, because PostgreSQL can't be had");
    }
    !skipped
}

/// A database for one test.
pub(crate) struct Database {
    server: Arc<Server>,
    name: String,
    address: String,
}

impl Database {
    /// An empty market's.
    pub(crate) fn create() -> Self {
        Self::on(Arc::clone(&SERVER))
    }

    /// The same, on a server of its own that may be set otherwise.
    pub(crate) fn on_its_own_server() -> Self {
        Self::on(Arc::new(Server::start()))
    }

    fn on(server: Arc<Server>) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::SeqCst));
        server.execute(&format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}"));
        Self { address: server.address(&name), server, name }
    }

    /// One without any table.
    pub(crate) fn create_bare() -> Self {
        let database = Self::create();
        database.server.execute(&format!("DROP DATABASE {0}", database.name));
        let bare = format!("CREATE DATABASE {0} TEMPLATE template0 ENCODING UTF8", database.name);
        database.server.execute(&bare);
        database
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) async fn open(&self) -> Store {
        store::postgres::open(&self.address, &PostgresOptions::default()).await.unwrap()
    }

    /// Carries SQL out as the owner; answers what it prints.
    pub(crate) fn execute(&self, sql: &str) -> Result<String, String> {
        self.server.psql(&self.name, sql)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The sessions of a market that was not closed are cut.
        let _ = self.server.psql("postgres", &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

struct Server {
    folder: PathBuf,
    programs: PathBuf,
    account: Option<Account>,
    /// Its standard input tells the end of the tests.
    _watch: Child,
}

/// Who the server runs as when the tests run as root, which it refuses.
#[derive(Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

static SERVER: LazyLock<Arc<Server>> = LazyLock::new(|| Arc::new(Server::start()));

impl Server {
    fn start() -> Self {
        let programs = programs().unwrap_or_else(|| {
            panic!(
                "PostgreSQL {MIN_VERSION} or later is missing: install it (Debian: postgresql), or set {SETTING}=skip"
            )
        });
        let folder = tempfile::Builder::new().prefix("souk-pg-").tempdir().unwrap().keep();
        let account = fs::metadata("/proc/self").unwrap();
        let is_root = std::os::unix::fs::MetadataExt::uid(&account) == 0;
        let account = is_root.then(unprivileged);
        if let Some(Account { user, group }) = account {
            chown(&folder, Some(user), Some(group)).unwrap();
        }
        let data = folder.join("data");
        let mut init = command(&programs.join("initdb"), account);
        init.args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--username=souk", "--no-sync", "-D"]);
        let made = init.arg(&data).output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let settings = format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nfsync = off\nfull_page_writes = off\n\
             max_connections = 400\nshared_buffers = 64MB\nautovacuum_naptime = 10s\n",
            folder.display()
        );
        let mut text = fs::read_to_string(data.join("postgresql.conf")).unwrap();
        text.push_str(&settings);
        fs::write(data.join("postgresql.conf"), text).unwrap();
        let mut watch = command(Path::new("/bin/sh"), account);
        watch.args(["-c", WATCH, "sh"]).arg(&programs).arg(&folder);
        let watch = watch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A Ctrl-C in the terminal is for the tests; the server follows them.
        let watch = watch.process_group(0).spawn().unwrap();
        let server = Self { folder, programs, account, _watch: watch };
        server.prepare();
        server
    }

    fn prepare(&self) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(problem) = self.psql("postgres", "SELECT 1") {
            assert!(Instant::now() < deadline, "the server does not start: {problem}");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.execute(&format!("CREATE DATABASE {TEMPLATE} TEMPLATE template0 ENCODING UTF8"));
        let address = self.address(TEMPLATE);
        // On a thread of its own: the caller may be in a runtime already.
        let migrated = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let opened = runtime.block_on(store::postgres::open(&address, &PostgresOptions::default()));
            opened.map(|_| ()).unwrap();
        });
        migrated.join().unwrap();
    }

    fn address(&self, database: &str) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://souk@{folder}/{database}")
    }

    fn execute(&self, sql: &str) {
        let done = self.psql("postgres", sql);
        assert!(done.is_ok(), "{sql}: {done:?}");
    }

    fn psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = command(&self.programs.join("psql"), self.account);
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
            "--host",
        ]);
        let output =
            psql.arg(&self.folder).args(["--username=souk", "--dbname", database, "-c", sql]).output();
        let output = output.map_err(|error| error.to_string())?;
        let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

fn command(program: &Path, account: Option<Account>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if let Some(Account { user, group }) = account {
        command.gid(group).uid(user);
    }
    command
}

/// The account that PostgreSQL's package made, or nobody's.
fn unprivileged() -> Account {
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    let of = |name: &str| {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map_while(|number| number.parse().ok());
        Some(Account { user: numbers.next()?, group: numbers.next()? })
    };
    of("postgres").or_else(|| of("nobody")).expect("an account without rights")
}

/// Where the server's programs are: of the newest version that is installed as Debian does, or on the path.
fn programs() -> Option<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let versions = installed.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let newest = versions.filter(|version| *version >= MIN_VERSION).max();
    let debian = newest.map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")));
    let on_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    debian
        .into_iter()
        .chain(on_path)
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
}
