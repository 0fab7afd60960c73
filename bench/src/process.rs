//! The servers under load. They run as child processes, so that their CPU time can be measured separately from that
//! of the load generator.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use souk_server::{
    app::App,
    clock::Clock,
    config::{Config, StoreConfig},
    observe::{self, Memory},
    random::Random,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

/// Clock ticks per second of CPU time in `/proc/PID/stat` (`USER_HZ` on Linux).
const TICKS_PER_SECOND: f64 = 100.0;
/// Rate limit per party: far above the load, so that it has no effect.
const UNLIMITED_CALLS: u32 = 100_000_000;

/// The arguments of a server process.
#[derive(Args)]
pub(crate) struct ServeArgs {
    /// Folder with the certificates and the store.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Number of server threads.
    #[arg(long)]
    pub(crate) threads: usize,
    /// Log level, such as "warn".
    #[arg(long)]
    pub(crate) log: String,
    /// Address of a database, instead of a SQLite file in the folder.
    #[arg(long)]
    pub(crate) store: Option<PathBuf>,
    /// Address for metrics and health checks.
    #[arg(long)]
    pub(crate) admin: Option<SocketAddr>,
}

/// A server in a child process, which is killed on drop.
pub(crate) struct ServerProcess {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl ServerProcess {
    /// Starts `bench COMMAND` and waits until it prints the address on which it listens.
    pub(crate) async fn start(command: &str, dir: &Path, threads: usize, log: &str) -> anyhow::Result<Self> {
        Self::start_from(&std::env::current_exe()?, command, dir, threads, log).await
    }

    /// Like [`ServerProcess::start`], but runs another build of this program.
    pub(crate) async fn start_from(
        program: &Path,
        command: &str,
        dir: &Path,
        threads: usize,
        log: &str,
    ) -> anyhow::Result<Self> {
        Self::spawn(program, command, dir, threads, log, &[]).await
    }

    /// Starts a market on the database at the address `store`.
    pub(crate) async fn start_market_on(
        store: &str,
        dir: &Path,
        threads: usize,
        log: &str,
    ) -> anyhow::Result<Self> {
        let more = ["--store", store];
        Self::spawn(&std::env::current_exe()?, "serve-market", dir, threads, log, &more).await
    }

    /// Starts a server of `program`, a build of `bench`, with an admin port.
    pub(crate) async fn start_with_admin(
        program: &Path,
        command: &str,
        dir: &Path,
        threads: usize,
        admin: SocketAddr,
    ) -> anyhow::Result<Self> {
        Self::spawn(program, command, dir, threads, "warn", &["--admin", &admin.to_string()]).await
    }

    /// Starts a market with its default limits and an admin port.
    pub(crate) async fn start_attacked(
        dir: &Path,
        threads: usize,
        log: &str,
        admin: SocketAddr,
    ) -> anyhow::Result<Self> {
        let admin = admin.to_string();
        let more = ["--admin", &admin];
        Self::spawn(&std::env::current_exe()?, "serve-attacked", dir, threads, log, &more).await
    }

    async fn spawn(
        program: &Path,
        command: &str,
        dir: &Path,
        threads: usize,
        log: &str,
        more: &[&str],
    ) -> anyhow::Result<Self> {
        let mut server = Command::new(program);
        server.arg(command).arg("--dir").arg(dir);
        server.args(["--threads", &threads.to_string(), "--log", log]).args(more);
        Self::launch(server, command, dir).await
    }

    /// Runs a program and waits until it prints the address on which it listens. Its standard error is appended to
    /// `NAME.log` in `dir`.
    pub(crate) async fn launch(mut program: Command, name: &str, dir: &Path) -> anyhow::Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let mut child = program
            .stdout(Stdio::piped())
            .stderr(fs::OpenOptions::new().create(true).append(true).open(&log)?)
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("the child has no standard output")?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        let Some(address) = line.as_deref().and_then(|line| line.parse().ok()) else {
            bail!("{name} did not start: {}", fs::read_to_string(log).unwrap_or_default());
        };
        Ok(Self { child, address })
    }

    /// Kills the process immediately with SIGKILL.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Stops the market as an operator does, and waits until it has ended.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        let id = self.child.id().context("the server has ended")?;
        let sent = Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        ensure!(sent.success(), "can't send SIGTERM");
        let status = self.child.wait().await?;
        ensure!(status.success(), "the market ended with {status}");
        Ok(())
    }

    /// Returns the number of open file descriptors of the process.
    pub(crate) fn descriptors(&self) -> anyhow::Result<usize> {
        let id = self.child.id().context("the server has ended")?;
        Ok(fs::read_dir(format!("/proc/{id}/fd"))?.count())
    }

    /// Returns the memory usage of the process.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        Ok(Memory::of(self.child.id().context("the server has ended")?)?)
    }

    /// Returns the CPU time used so far in seconds.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        cpu_seconds(self.child.id().context("the server has ended")?)
    }
}

/// Returns the number of server threads for an argument, in which 0 means one per core.
pub(crate) fn server_threads(given: usize) -> anyhow::Result<usize> {
    Ok(if given == 0 { std::thread::available_parallelism()?.get() } else { given })
}

/// Returns the CPU time of a process, user and system, in seconds (proc_pid_stat(5), fields 14 and 15).
pub(crate) fn cpu_seconds(process: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is the command name in parentheses, which may contain spaces.
    let (_, fields) = stat.rsplit_once(')').context("cannot parse /proc/PID/stat")?;
    let ticks: Vec<f64> = fields.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}

/// Runs a market with its usual services until SIGTERM.
pub(crate) async fn serve_market(args: ServeArgs) -> anyhow::Result<()> {
    let stop = stopped_by_sigterm()?;
    let (app, _log) = open_market(args, "souk.db").await?;
    Ok(app.run(stop).await?)
}

/// Returns a token that is cancelled at SIGTERM.
pub(crate) fn stopped_by_sigterm() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        terminate.recv().await;
        stopped.cancel();
    });
    Ok(stop)
}

/// Runs a market with its default limits until SIGTERM, for `hostile`.
pub(crate) async fn serve_attacked(args: ServeArgs) -> anyhow::Result<()> {
    let stop = stopped_by_sigterm()?;
    let store = args.dir.join("souk.db");
    let mut config = settings(&args, store)?;
    config.callbacks.allow_loopback = true;
    let (app, _log) = open(config).await?;
    Ok(app.run(stop).await?)
}

/// Opens a market with default settings except for the rate limits, by default on SQLite. Prints its address for the
/// parent process.
pub(crate) async fn open_market(args: ServeArgs, store: &str) -> anyhow::Result<(App, observe::Log)> {
    let store = args.store.clone().unwrap_or_else(|| args.dir.join(store));
    let mut config = settings(&args, store)?;
    config.limits.seller_calls_per_second = UNLIMITED_CALLS;
    config.limits.buyer_calls_per_second = UNLIMITED_CALLS;
    config.limits.burst_calls = UNLIMITED_CALLS;
    config.limits.import_rows_per_second = UNLIMITED_CALLS;
    config.callbacks.allow_loopback = true;
    open(config).await
}

fn settings(args: &ServeArgs, store: PathBuf) -> anyhow::Result<Config> {
    let mut config = Config::load(None)?;
    config.server.threads = args.threads;
    config.server.admin_listen = args.admin;
    config.tls.cert = args.dir.join("pki/market.pem");
    config.store = StoreConfig::at(store);
    config.log.level.clone_from(&args.log);
    Ok(config)
}

async fn open(config: Config) -> anyhow::Result<(App, observe::Log)> {
    let log = observe::init(&config.log, None)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let app = App::build(config, listener, (Clock::SYSTEM, Random::SYSTEM)).await?;
    println!("{}", app.local_addr()?);
    Ok((app, log))
}
