//! A private PostgreSQL server in a temporary folder, for tests and measurements.
//!
//! It listens on a socket in its folder and, on request, on the network of this machine. It admits everyone
//! who can reach these without a password. A shell next to it waits for the end of this process, however that
//! happens, by reading its standard input until end of file. Then it stops the server and removes the folder.

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

/// The oldest supported version.
pub const MIN_VERSION: u32 = 15;
/// The role that owns the databases.
const OWNER: &str = "souk";
/// The port in the name of its socket, unless it listens on another one.
const PORT: u16 = 5432;
/// The deadline for a server to start.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How often to check whether it has.
const START_LOOK: Duration = Duration::from_millis(20);

/// The shell script that stops the server and removes its folder after this process has ended or closed the
/// pipe.
const WATCH: &str = r#"
"$1"/postgres -D "$2"/data >"$2"/log 2>&1 &
server=$!
cat >/dev/null
kill -INT $server
kill -CONT $server $(cat /proc/$server/task/$server/children)
wait $server
rm -rf "$2"
"#;

/// A running server, which is stopped on drop.
pub struct DatabaseServer {
    folder: PathBuf,
    port: u16,
    programs: PathBuf,
    account: Option<Account>,
    /// The watching shell. Closing its standard input stops the server.
    watch: Child,
}

/// Where a server listens on TCP.
#[derive(Clone, Copy, Debug)]
pub struct Network<'a> {
    /// An address of this machine.
    pub at: SocketAddr,
    /// Its certificates and key, in PEM; `None` allows only unencrypted connections.
    pub tls: Option<(&'a str, &'a str)>,
}

/// The account as which the server runs if this process runs as root, which PostgreSQL refuses.
#[derive(Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

impl DatabaseServer {
    /// Creates an empty server with these settings (lines of `postgresql.conf`) and starts it.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or does not start.
    pub fn start(settings: &[&str]) -> io::Result<Self> {
        Self::make(None, settings, init)
    }

    /// Like [`Self::start`], but also listens on the network.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_on(network: Network<'_>, settings: &[&str]) -> io::Result<Self> {
        Self::make(Some(network), settings, init)
    }

    /// Starts a standby of this server under a name.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_standby(&self, name: &str, settings: &[&str]) -> io::Result<Self> {
        // After a promotion, there is no standby to wait for.
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
        // Of several lines for one setting, the last one applies.
        fs::write(
            &file,
            fs::read_to_string(&file)? + &lines.fold(String::new(), |text, line| text + line + "\n"),
        )?;
        let mut watch = command(Path::new("/bin/sh"), account);
        watch.args(["-c", WATCH, "sh"]).arg(&programs).arg(&folder);
        watch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Ctrl-C in the terminal must reach only this process; the server stops after it.
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

    /// Returns the folder of its socket and files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the address of a database. With a standby, the client chooses the one of the two that accepts
    /// writes.
    pub fn address(&self, database: &str, standby: Option<&Self>) -> String {
        let host = |server: &Self| {
            format!("{}:{}", server.folder.display().to_string().replace('/', "%2F"), server.port)
        };
        let hosts: Vec<String> = [Some(self), standby].into_iter().flatten().map(host).collect();
        format!("postgres://{OWNER}@{}/{database}", hosts.join(","))
    }

    /// Returns a command that runs one of PostgreSQL's programs as a client of this server.
    pub fn program(&self, name: &str) -> Command {
        let mut program = command(&self.programs.join(name), self.account);
        program.env("PGHOST", &self.folder).env("PGPORT", self.port.to_string()).env("PGUSER", OWNER);
        program
    }

    /// Runs SQL as the owner, and returns its output.
    ///
    /// # Errors
    /// Returns PostgreSQL's error message.
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
    /// The setting does not exist, or rejects this value.
    pub fn set(&self, setting: &str, value: &str) -> io::Result<()> {
        let change = format!("ALTER SYSTEM SET {setting} = '{value}'");
        self.psql("postgres", &change).map_err(io::Error::other)?;
        done(self.program("pg_ctl").arg("reload").arg("-D").arg(self.folder.join("data")))
    }

    /// Kills the server and all of its processes, which simulates the loss of its machine.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&self) -> io::Result<()> {
        self.signal("-KILL")
    }

    /// Freezes the server, which simulates a machine that hangs: the kernel still accepts connections, but
    /// nothing responds.
    ///
    /// # Errors
    /// It does not run.
    pub fn freeze(&self) -> io::Result<()> {
        self.signal("-STOP")
    }

    /// Resumes a frozen server.
    ///
    /// # Errors
    /// It does not run.
    pub fn thaw(&self) -> io::Result<()> {
        self.signal("-CONT")
    }

    /// Sends a signal to the server and all of its processes.
    fn signal(&self, signal: &str) -> io::Result<()> {
        let pid = fs::read_to_string(self.folder.join("data/postmaster.pid"))?;
        let pid = pid.lines().next().unwrap_or_default();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        done(Command::new("kill").arg(signal).arg(pid).args(children.split_whitespace()))
    }

    /// Promotes a standby to primary.
    ///
    /// # Errors
    /// It is not a standby.
    pub fn promote(&self) -> io::Result<()> {
        done(self.program("pg_ctl").arg("promote").arg("-D").arg(self.folder.join("data")))
    }
}

impl Drop for DatabaseServer {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        // The shell removes the folder, in whatever state the server is.
        let _ = self.watch.wait();
    }
}

/// Creates the files of an empty server.
fn init(programs: &Path, account: Option<Account>, folder: &Path) -> io::Result<()> {
    let mut init = command(&programs.join("initdb"), account);
    init.args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--username", OWNER, "-D"]);
    done(init.arg(folder.join("data")))
}

/// Returns the settings of where the server listens, and writes the files that they need.
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
        // PostgreSQL's default names. It refuses a key that others can read, and one that neither it nor root
        // owns.
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

/// Returns the account that PostgreSQL's package has created, or `nobody`.
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

/// Returns the folder of the server's programs: those of the newest version that is installed as on Debian,
/// or those on the path.
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
