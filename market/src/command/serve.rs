//! `market serve`: opens the market and keeps it open until SIGINT or SIGTERM.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use ipnet::IpNet;
use souk_server::{
    app::App,
    clock::Clock,
    config::{Config, LogFormat, StoreFlags},
    observe::{self, Traces},
    random::Random,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

/// Open the market
///
/// Settings come from flags, then SOUK_* variables, then the file given with --config, then the defaults
/// (`--print-config` shows them with their meaning).
#[derive(Args)]
#[command(
    after_help = "Example:\n  market serve --cert certs/pki/market.pem --listen 0.0.0.0:7443 --store souk.db"
)]
pub(super) struct ServeArgs {
    /// Settings file (TOML).
    #[arg(long, env = "SOUK_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the documented default settings and end.
    #[arg(long)]
    print_config: bool,
    /// Where to listen [default: [::]:7443].
    #[arg(long, env = "SOUK_LISTEN", value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// Where to tell figures over plain HTTP, at /metrics [default: nowhere].
    #[arg(long, env = "SOUK_ADMIN_LISTEN", value_name = "IP:PORT")]
    admin_listen: Option<SocketAddr>,
    /// The market's certificate [default: certs/pki/market.pem].
    #[arg(long, env = "SOUK_CERT", value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Its key [default: beside the certificate].
    #[arg(long, env = "SOUK_KEY", value_name = "FILE")]
    key: Option<PathBuf>,
    /// The authority's certificate [default: ca.pem beside the certificate].
    #[arg(long, env = "SOUK_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The list of revoked certificates [default: crl.pem beside the certificate].
    #[arg(long, env = "SOUK_CRL", value_name = "FILE")]
    crl: Option<PathBuf>,
    /// Refuse a revocation list that is out of date, instead of warning of it.
    #[arg(long, env = "SOUK_STRICT_CRL")]
    strict_crl: bool,
    /// A SQLite file, "memory", or postgres://USER@HOST/DATABASE (password: PGPASSWORD or
    /// --store-password-file) [default: souk.db].
    #[arg(long, env = "SOUK_STORE", value_name = "STORE")]
    store: Option<PathBuf>,
    /// The file with the database's password.
    #[arg(long, env = "SOUK_STORE_PASSWORD_FILE", value_name = "FILE")]
    store_password_file: Option<PathBuf>,
    /// Network of hosts that may be called back beside the callers' own addresses; may be repeated.
    #[arg(long, env = "SOUK_CALLBACK_ALLOW", value_name = "CIDR", value_delimiter = ',')]
    callback_allow: Vec<IpNet>,
    /// Call back to this very machine too: for trying things out.
    #[arg(long, env = "SOUK_ALLOW_LOOPBACK_CALLBACKS")]
    allow_loopback_callbacks: bool,
    /// How log lines are written [default: words].
    #[arg(long, env = "SOUK_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Which log lines: error, warn, info, debug, or tracing's directives [default: info].
    #[arg(long, env = "SOUK_LOG", value_name = "LEVEL")]
    log: Option<String>,
    /// Send a span of each call to this OpenTelemetry collector, over gRPC; OTEL_EXPORTER_OTLP_ENDPOINT is
    /// heeded as well [default: none].
    #[arg(long, env = "SOUK_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// The share of calls that get a span, 0 to 1 [default: 1].
    #[arg(long, env = "SOUK_TRACE_SAMPLE_RATIO", value_name = "RATIO")]
    trace_sample_ratio: Option<f64>,
}

/// What OpenTelemetry's own programs are told the collector by; the more special one comes first.
const STANDARD_ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

pub(super) async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    if args.print_config {
        print!("{}", Config::DEFAULTS);
        return Ok(ExitCode::SUCCESS);
    }
    let config = args.settings()?;
    let traces = Traces::open(&config.traces)?;
    let _log = observe::init(&config.log, traces.as_ref())?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let listener = TcpListener::bind(config.server.listen)
        .await
        .with_context(|| format!("can't listen on {}; choose another --listen", config.server.listen))?;
    let app = App::build(config, listener, (Clock::SYSTEM, Random::SYSTEM))
        .await?
        .with_span_counts(traces.as_ref().map(Traces::counts));
    tracing::info!(listen = %app.local_addr()?, "the market is open");
    let shutdown = CancellationToken::new();
    tokio::spawn(stop_on_signal(shutdown.clone()));
    let outcome = app.run(shutdown).await;
    if let Some(traces) = traces {
        traces.close().await;
    }
    outcome?;
    tracing::info!("the market is closed");
    Ok(ExitCode::SUCCESS)
}

impl ServeArgs {
    fn settings(self) -> anyhow::Result<Config> {
        let store = StoreFlags { path: self.store, password_file: self.store_password_file };
        let mut config = Config::load_under(self.config.as_deref(), store)?;
        set(&mut config.server.listen, self.listen);
        config.server.admin_listen = self.admin_listen.or(config.server.admin_listen);
        set(&mut config.tls.cert, self.cert);
        config.tls.key = self.key.or(config.tls.key);
        config.tls.ca = self.ca.or(config.tls.ca);
        config.tls.crl = self.crl.or(config.tls.crl);
        config.tls.strict_crl |= self.strict_crl;
        config.callbacks.allow.extend(self.callback_allow);
        config.callbacks.allow_loopback |= self.allow_loopback_callbacks;
        set(&mut config.log.format, self.log_format);
        set(&mut config.log.level, self.log);
        set(&mut config.traces.otlp_endpoint, self.otlp_endpoint.or_else(standard_endpoint));
        set(&mut config.traces.sample_ratio, self.trace_sample_ratio);
        config.check()?;
        Ok(config)
    }
}

/// A variable like any other: it overrules the settings file, and our own variable overrules it.
fn standard_endpoint() -> Option<String> {
    let mut given = STANDARD_ENDPOINTS.into_iter().filter_map(|name| std::env::var(name).ok());
    given.find(|endpoint| !endpoint.is_empty())
}

fn set<T>(setting: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *setting = given;
    }
}

/// The first signal drains, a second one ends at once.
async fn stop_on_signal(shutdown: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("signals can't be handled: the market ends at once when it is told to");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => shutdown.cancel(),
        _ = interrupt.recv() => shutdown.cancel(),
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::warn!("told twice: ending at once");
    std::process::exit(130);
}
