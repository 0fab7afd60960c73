//! The real `market` program on a folder: started, killed and started again at the same address.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use souk_authority::pki::{InitOptions, IssueOptions, Pki};
use souk_certs::{clock, identity::Role};
use souk_client::{ClientConfig, Connection};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

use crate::disk::Disk;

/// Deadline for a market to open; long enough for a debug build to repair its files on a busy machine.
const OPEN_PATIENCE: Duration = Duration::from_secs(60);
/// Deadline for a market to end after a signal.
const END_PATIENCE: Duration = Duration::from_secs(30);
/// Deadline for an answer of the admin port.
const ADMIN_PATIENCE: Duration = Duration::from_secs(5);
/// The number of log lines that are kept for the report of a failure.
const LOG_LINES: usize = 40;
/// Rate limits far above the load.
const SETTINGS: &str = "[server]\nthreads = 2\n[limits]\nseller_calls_per_second = 100000\nbuyer_calls_per_second = 100000\n\
                        burst_calls = 100000\n";

/// A folder with certificates and a store, and the market on it.
pub(crate) struct Site {
    folder: TempDir,
    pki: Pki,
    program: PathBuf,
    pub(crate) disk: Disk,
    /// Whether the market's files are on `disk`, instead of on the machine's.
    has_disk: bool,
    store: String,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    process: Option<Process>,
}

struct Process {
    child: Child,
    log: Log,
}

/// The last lines that a market has logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: String) {
        let mut lines = self.lines();
        if lines.len() == LOG_LINES {
            lines.remove(0);
        }
        lines.push(line);
    }
}

impl Site {
    /// Mints certificates. The market is not started yet; its store is a SQLite file on a [`Disk`].
    pub(crate) async fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("souk-site-").tempdir()?;
        let pki = Pki::init(&folder.path().join("pki"), &InitOptions::default(), clock::now())?;
        let disk = Disk::new(folder.path())?;
        let store = disk.folder().join("souk.db").display().to_string();
        std::fs::write(folder.path().join("market.toml"), SETTINGS)?;
        let (address, admin) = (free_address().await?, free_address().await?);
        Ok(Self {
            program: market_program()?,
            folder,
            pki,
            disk,
            store,
            address,
            admin,
            has_disk: true,
            process: None,
        })
    }

    /// Like [`Site::new`], with the files on the machine's own disk, for measurements.
    pub(crate) async fn on_real_disk() -> anyhow::Result<Self> {
        Ok(Self { has_disk: false, ..Self::new().await? })
    }

    /// Returns the folder that holds everything; files outside of the disk's folder are never dropped.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Uses another store than the SQLite file.
    pub(crate) fn on_store(&mut self, store: String) {
        self.store = store;
    }

    /// Returns a command of the `market` program on the same disk as the market.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(self.folder.path()).kill_on_drop(true);
        if self.has_disk {
            command.envs(self.disk.variables());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts the market, and waits until it is open.
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        if self.try_start().await? {
            return Ok(());
        }
        bail!("the market does not start: {}", self.last_words())
    }

    /// Starts the market. Returns whether it is open; if not, it has ended.
    pub(crate) async fn try_start(&mut self) -> anyhow::Result<bool> {
        let opened = self.spawn()?;
        match timeout(OPEN_PATIENCE, opened).await {
            Ok(Ok(())) => Ok(true),
            // The pipe was closed without the line.
            Ok(Err(_)) => {
                self.ended().await?;
                Ok(false)
            }
            Err(_) => {
                self.kill().await?;
                bail!("the market did not open within {OPEN_PATIENCE:?}: {}", self.last_words())
            }
        }
    }

    /// Starts the process. The receiver is notified when the market is open.
    pub(crate) fn spawn(&mut self) -> anyhow::Result<oneshot::Receiver<()>> {
        let (address, admin) = (self.address.to_string(), self.admin.to_string());
        let mut command = self.command(&["serve", "--config", "market.toml", "--cert", "pki/market.pem"]);
        command.args(["--listen", &address, "--admin-listen", &admin, "--store", &self.store]);
        command.args(["--allow-loopback-callbacks", "--log-format", "json", "--log", "warn,market=info"]);
        let mut child = command.stdout(Stdio::null()).spawn().context("can't start the market")?;
        let stderr = child.stderr.take().context("the market's log")?;
        let (open, opened) = oneshot::channel();
        let log = Log::default();
        let kept = log.clone();
        tokio::spawn(async move {
            let (mut lines, mut open) = (BufReader::new(stderr).lines(), Some(open));
            while let Ok(Some(line)) = lines.next_line().await {
                if is_opening(&line)
                    && let Some(open) = open.take()
                {
                    // The driver may no longer wait for it.
                    let _ = open.send(());
                }
                kept.add(line);
            }
        });
        self.process = Some(Process { child, log });
        Ok(opened)
    }

    /// Kills the market with SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(process) = &mut self.process {
            process.child.kill().await?;
        }
        Ok(())
    }

    /// Waits until the market has ended by itself.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let process = self.process.as_mut().context("no market was started")?;
        Ok(timeout(END_PATIENCE, process.child.wait()).await.context("the market did not end")??)
    }

    /// Returns the status of a market that has ended.
    pub(crate) fn status(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.process.as_mut().map(|process| process.child.try_wait()).transpose()?.flatten())
    }

    /// Stops the market as an operator does.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        let id =
            self.process.as_ref().and_then(|process| process.child.id()).context("the market has ended")?;
        let status = Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        ensure!(status.success(), "can't send SIGTERM");
        let status = self.ended().await?;
        ensure!(status.success(), "the market ended with {status}: {}", self.last_words());
        Ok(())
    }

    /// Returns the last log lines of the market.
    pub(crate) fn last_words(&self) -> String {
        self.process.as_ref().map(|process| process.log.lines().join("\n")).unwrap_or_default()
    }

    /// Returns whether `/readyz` answers 200; `None` if it does not answer.
    pub(crate) async fn is_ready(&self) -> Option<bool> {
        let answer = timeout(ADMIN_PATIENCE, get(self.admin, "/readyz")).await.ok()?.ok()?;
        Some(answer.starts_with("HTTP/1.1 200"))
    }

    /// Connects a party, whose certificate is minted the first time. The address is that of the market, or of a proxy
    /// before it.
    pub(crate) async fn connect(
        &mut self,
        name: &str,
        role: Role,
        address: SocketAddr,
    ) -> anyhow::Result<(Connection, ClientConfig)> {
        let party = match self.pki.find(name) {
            Ok(party) => party,
            Err(_) => self.pki.issue(name, role, &IssueOptions::default(), clock::now())?,
        };
        let config = ClientConfig::new(address.into(), party.files());
        Ok((Connection::open(&config).await?, config))
    }
}

/// Returns whether a log line reports that the market is open.
fn is_opening(line: &str) -> bool {
    let line: Option<Value> = serde_json::from_str(line).ok();
    line.is_some_and(|line| line["fields"]["listen"].is_string())
}

/// Returns the path of the `market` program, which is built next to this one.
fn market_program() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("market");
    ensure!(program.exists(), "{} is missing; build it first: cargo build -p market", program.display());
    Ok(program)
}

/// Returns an address of this machine with a port that is free now. A market keeps it over its restarts.
pub(crate) async fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?)
}

/// Sends a request to the admin port, and returns the answer.
pub(crate) async fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: market\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Waits until a condition holds. Returns whether it did before the deadline.
pub(crate) async fn until(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !holds() {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(Duration::from_millis(1)).await;
    }
    true
}
