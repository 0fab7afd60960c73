//! A private PostgreSQL server in a temporary folder, for tests and measurements.
//!
//! It listens on a socket in its folder alone, unless it is told to on the network of this machine as well, and lets
//! everybody in who can reach that. A shell beside it waits for
//! the end of this process, whatever it is, by an end of file on its standard input; then it stops the server and
//! removes the folder.

use std::{
    fs,
    io::{self, Write as _},
    net::{IpAddr, SocketAddr},
    os::unix::{
        fs::{MetadataExt as _, OpenOptionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// The oldest version that is supported.
pub const MIN_VERSION: u32 = 15;
/// Who owns the databases.
const OWNER: &str = "souk";
/// The port in the name of its socket, unless it listens on another one.
const PORT: u16 = 5432;
/// How long a server may take to start.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How often to look whether it has.
const START_LOOK: Duration = Duration::from_millis(20);

/// Stops the server and removes its folder when this process has ended or lets go of it.
const WATCH: &str = r#"
"$1"/postgres -D "$2"/data >"$2"/log 2>&1 &
server=$!
cat >/dev/null
kill -INT $server
kill -CONT $server $(cat /proc/$server/task/$server/children)
wait $server
rm -rf "$2"
"#;

/// A server. It ends with this value.
pub struct DatabaseServer {
    folder: PathBuf,
    port: u16,
    programs: PathBuf,
    account: Option<Account>,
    /// Its standard input, when it is closed, tells the end.
    watch: Child,
}

/// Where a server can be reached over TCP.
#[derive(Clone, Copy, Debug)]
pub struct Network<'a> {
    /// An address of this machine.
    pub at: SocketAddr,
    /// Its certificates and key, in PEM; without them it speaks in plain alone.
    pub tls: Option<(&'a str, &'a str)>,
}

/// Who the server runs as when this process runs as root, which PostgreSQL refuses.
#[derive(Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

impl DatabaseServer {
    /// Makes an empty server with these settings (lines of `postgresql.conf`) and starts it.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or does not start.
    pub fn start(settings: &[&str]) -> io::Result<Self> {
        Self::make(None, settings, init)
    }

    /// The same, and listens on the network.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_on(network: Network<'_>, settings: &[&str]) -> io::Result<Self> {
        Self::make(Some(network), settings, init)
    }

    /// Starts a standby that follows this server under a name.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_standby(&self, name: &str, settings: &[&str]) -> io::Result<Self> {
        // Whoever is promoted waits for nobody.
        let follow = format!(
            "synchronous_standby_names = ''\nprimary_conninfo = 'host={} port={} user={OWNER} application_name={name}'",
            self.folder.display(),
            self.port
        );
        let settings: Vec<&str> = settings.iter().copied().chain([follow.as_str()]).collect();
        Self::make(None, &settings, |_, account, folder| {
            let mut copy = self.program("pg_basebackup");
            copy.args(["--checkpoint=fast", "-D"]);
            done(copy.arg(folder.join("data")))?;
            done(command(Path::new("touch"), account).arg(folder.join("data/standby.signal")))
        })
    }

    fn make(
        network: Option<Network<'_>>,
        settings: &[&str],
        fill: impl FnOnce(&Path, Option<Account>, &Path) -> io::Result<()>,
    ) -> io::Result<Self> {
        let programs = programs().ok_or_else(|| {
            io::Error::other(format!(
                "PostgreSQL {MIN_VERSION} or later is missing; install it (Debian: postgresql)"
            ))
        })?;
        let folder = tempfile::Builder::new().prefix("souk-pg-").tempdir()?.keep();
        let is_root = fs::metadata("/proc/self")?.uid() == 0;
        let account = if is_root { Some(unprivileged()?) } else { None };
        if let Some(Account { user, group }) = account {
            chown(&folder, Some(user), Some(group))?;
        }
        fill(&programs, account, &folder)?;
        let file = folder.join("data/postgresql.conf");
        let own = reached_at(network, account, &folder)?;
        let lines = own.iter().map(String::as_str).chain(settings.iter().copied());
        // The last of several lines for one setting counts.
        fs::write(
            &file,
            fs::read_to_string(&file)? + &lines.fold(String::new(), |text, line| text + line + "\n"),
        )?;
        let mut watch = command(Path::new("/bin/sh"), account);
        watch.args(["-c", WATCH, "sh"]).arg(&programs).arg(&folder);
        watch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A Ctrl-C in the terminal is for this process; the server follows it.
        let watch = watch.process_group(0).spawn()?;
        let port = network.map_or(PORT, |network| network.at.port());
        let server = Self { folder, port, programs, account, watch };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&self) -> io::Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        while !self.program("pg_isready").args(["--quiet", "--dbname=postgres"]).status()?.success() {
            if Instant::now() >= deadline {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("PostgreSQL does not start: {log}")));
            }
            std::thread::sleep(START_LOOK);
        }
        Ok(())
    }

    /// Returns where its socket and its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns a database's address. With a standby, one of the two that takes writes.
    pub fn address(&self, database: &str, standby: Option<&Self>) -> String {
        let host = |server: &Self| {
            format!("{}:{}", server.folder.display().to_string().replace('/', "%2F"), server.port)
        };
        let hosts: Vec<String> = [Some(self), standby].into_iter().flatten().map(host).collect();
        format!("postgres://{OWNER}@{}/{database}", hosts.join(","))
    }

    /// Returns one of PostgreSQL's programs, as a client of this server.
    pub fn program(&self, name: &str) -> Command {
        let mut program = command(&self.programs.join(name), self.account);
        program.env("PGHOST", &self.folder).env("PGPORT", self.port.to_string()).env("PGUSER", OWNER);
        program
    }

    /// Carries SQL out as the owner; answers what it prints.
    ///
    /// # Errors
    /// What is wrong with it, in PostgreSQL's words.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = self.program("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
        let output =
            psql.args(["--dbname", database, "-c", sql]).output().map_err(|error| error.to_string())?;
        let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Changes a setting of the running server.
    ///
    /// # Errors
    /// There is no such setting, or it can't have this value.
    pub fn set(&self, setting: &str, value: &str) -> io::Result<()> {
        let change = format!("ALTER SYSTEM SET {setting} = '{value}'");
        self.psql("postgres", &change).map_err(io::Error::other)?;
        done(self.program("pg_ctl").arg("reload").arg("-D").arg(self.folder.join("data")))
    }

    /// Kills the server as a loss of its machine would, and everything that it runs.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&self) -> io::Result<()> {
        self.signal("-KILL")
    }

    /// Stops the server where it stands, as a machine that hangs would: connections are still taken, by the kernel,
    /// and nothing is answered any more.
    ///
    /// # Errors
    /// It does not run.
    pub fn freeze(&self) -> io::Result<()> {
        self.signal("-STOP")
    }

    /// Lets a server go on that was frozen.
    ///
    /// # Errors
    /// It does not run.
    pub fn thaw(&self) -> io::Result<()> {
        self.signal("-CONT")
    }

    /// To the server and everything that it runs.
    fn signal(&self, signal: &str) -> io::Result<()> {
        let pid = fs::read_to_string(self.folder.join("data/postmaster.pid"))?;
        let pid = pid.lines().next().unwrap_or_default();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        done(Command::new("kill").arg(signal).arg(pid).args(children.split_whitespace()))
    }

    /// Makes a standby the one that takes writes.
    ///
    /// # Errors
    /// It is none.
    pub fn promote(&self) -> io::Result<()> {
        done(self.program("pg_ctl").arg("promote").arg("-D").arg(self.folder.join("data")))
    }
}

impl Drop for DatabaseServer {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        // It removes the folder, whatever became of the server.
        let _ = self.watch.wait();
    }
}

/// An empty server's files.
fn init(programs: &Path, account: Option<Account>, folder: &Path) -> io::Result<()> {
    let mut init = command(&programs.join("initdb"), account);
    init.args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--username", OWNER, "-D"]);
    done(init.arg(folder.join("data")))
}

/// Returns the settings that say where the server listens, and the files that they need.
fn reached_at(
    network: Option<Network<'_>>,
    account: Option<Account>,
    folder: &Path,
) -> io::Result<Vec<String>> {
    let address = network.map(|network| network.at.ip()).as_ref().map_or(String::new(), IpAddr::to_string);
    let mut settings = vec![
        format!("listen_addresses = '{address}'"),
        format!("unix_socket_directories = '{}'", folder.display()),
    ];
    let Some(Network { at, tls }) = network else { return Ok(settings) };
    settings.push(format!("port = {}", at.port()));
    if let Some((certificates, key)) = tls {
        // As PostgreSQL calls them when it is not told. It refuses a key that others can read, and one that is
        // neither its own nor root's.
        for (name, text) in [("server.crt", certificates), ("server.key", key)] {
            let path = folder.join("data").join(name);
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(text.as_bytes())?;
            if let Some(Account { user, group }) = account {
                chown(&path, Some(user), Some(group))?;
            }
        }
        settings.push("ssl = on".to_owned());
    }
    Ok(settings)
}

fn command(program: &Path, account: Option<Account>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if let Some(Account { user, group }) = account {
        command.gid(group).uid(user);
    }
    command
}

fn done(command: &mut Command) -> io::Result<()> {
    let Output { status, stderr, .. } = command.output()?;
    if status.success() {
        return Ok(());
    }
    let program = command.get_program().display().to_string();
    Err(io::Error::other(format!("{program}: {}", String::from_utf8_lossy(&stderr).trim())))
}

/// Returns the account that PostgreSQL's package made, or nobody's.
fn unprivileged() -> io::Result<Account> {
    let accounts = fs::read_to_string("/etc/passwd")?;
    let of = |name: &str| {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map_while(|number| number.parse().ok());
        Some(Account { user: numbers.next()?, group: numbers.next()? })
    };
    of("postgres")
        .or_else(|| of("nobody"))
        .ok_or_else(|| io::Error::other("there is no account without rights"))
}

/// Returns where the server's programs are: of the newest version that is installed as Debian does, or on the
/// path.
fn programs() -> Option<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let versions = installed.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let newest = versions.filter(|version| *version >= MIN_VERSION).max();
    let debian = newest.map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<_> = std::env::split_paths(&path).collect();
    let is_whole = |folder: &PathBuf| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file());
    debian.into_iter().chain(on_path).find(is_whole)
}
