//! `market serve`: opens the market and runs it until SIGINT or SIGTERM.

mod authority;
mod files;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use ipnet::IpNet;
use souk_certs::listener;
use souk_cli::exit;
use souk_enrolment::context::Context;
use souk_help::LESS_COMMON;
use souk_server::{
    app::{App, ServeError},
    clock::Clock,
    config::{Assignment, Config, LogFormat, StoreFlags},
    descriptors,
    observe::{self, Traces},
    random::Random,
};
use souk_stdio::errln;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::home;
use authority::OwnAuthorityArgs;
use files::GivenFiles;

/// Open the market
///
/// Settings are taken from flags, then SOUK_* variables, then the file given with --config, then the defaults
/// (`--print-config` prints them with their documentation).
#[derive(Args)]
#[command(
    after_help = "Examples:\n  market serve --cert certs/pki/market.pem --listen 0.0.0.0:7443 --store souk.db\n  \
                  market serve --config /etc/souk/market.toml --set limits.connections=1000\n  market serve --authority"
)]
pub(super) struct ServeArgs {
    /// The settings file, in TOML.
    #[arg(long, env = "SOUK_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the documented default settings and exit.
    #[arg(long)]
    print_config: bool,
    /// The address to listen on [default: [::]:7443].
    #[arg(long, env = "SOUK_LISTEN", value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// The address on which to expose Prometheus metrics over plain HTTP, at /metrics [default: none].
    #[arg(long, help_heading = LESS_COMMON, env = "SOUK_ADMIN_LISTEN", value_name = "IP:PORT")]
    admin_listen: Option<SocketAddr>,
    #[command(flatten)]
    files: GivenFiles,
    /// Refuse an outdated revocation list instead of logging a warning.
    #[arg(long, help_heading = LESS_COMMON, env = "SOUK_STRICT_CRL")]
    strict_crl: bool,
    /// The store: a SQLite file, "memory", or postgres://USER@HOST/DATABASE (password: PGPASSWORD or
    /// --store-password-file) [default: souk.db].
    #[arg(long, env = "SOUK_STORE", value_name = "STORE")]
    store: Option<PathBuf>,
    /// The file that contains the database password.
    #[arg(long, help_heading = LESS_COMMON, env = "SOUK_STORE_PASSWORD_FILE", value_name = "FILE")]
    store_password_file: Option<PathBuf>,
    /// A network whose hosts are allowed as callback addresses, in addition to the caller's own; may be
    /// repeated.
    #[arg(long, help_heading = LESS_COMMON, env = "SOUK_CALLBACK_ALLOW", value_name = "CIDR", value_delimiter = ',')]
    callback_allow: Vec<IpNet>,
    /// Allow callbacks to this machine, for development.
    #[arg(long, help_heading = LESS_COMMON, env = "SOUK_ALLOW_LOOPBACK_CALLBACKS")]
    allow_loopback_callbacks: bool,
    /// The format of log lines [default: words].
    #[arg(long, help_heading = LESS_COMMON, env = "SOUK_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// The log level: error, warn, info, debug, or tracing's directives [default: info].
    #[arg(long, help_heading = LESS_COMMON, env = "SOUK_LOG", value_name = "LEVEL")]
    log: Option<String>,
    /// Send a span of each call to this OpenTelemetry collector over gRPC; OTEL_EXPORTER_OTLP_ENDPOINT is
    /// also honoured [default: none].
    #[arg(long, help_heading = LESS_COMMON, env = "SOUK_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// The share of calls that get a span, 0 to 1 [default: 1].
    #[arg(long, help_heading = LESS_COMMON, env = "SOUK_TRACE_SAMPLE_RATIO", value_name = "RATIO")]
    trace_sample_ratio: Option<f64>,
    /// A setting of the file, such as limits.connections=1000; repeatable.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<Assignment>,
    #[command(flatten)]
    own: OwnAuthorityArgs,
}

/// The standard variables of OpenTelemetry that name the collector. The more specific one takes precedence.
const STANDARD_ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

pub(super) async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    if args.print_config {
        souk_stdio::print(format_args!("{}", Config::DEFAULTS));
        return Ok(ExitCode::SUCCESS);
    }
    let (is_listen_given, ignored) = (args.listen.is_some(), args.files.warning());
    let (mut config, own) = args.settings()?;
    own.complete(&mut config, is_listen_given)?;
    let traces = Traces::open(&config.traces)?;
    // Logging starts only now, because its settings come from the configuration; errors before go to stderr.
    let log = observe::init(&config.log, traces.as_ref())?;
    for warning in config.warnings().into_iter().chain(ignored.as_deref()) {
        tracing::warn!("{warning}");
    }
    if let Some(warning) = descriptors::fit(&mut config)? {
        tracing::warn!("{warning}");
    }
    // Bound before anything is opened, so that a port in use is reported before the store is touched.
    let listener = listener::bind(config.server.listen)
        .await
        .with_context(|| format!("can't listen on {}; choose another --listen", config.server.listen))?;
    let shutdown = CancellationToken::new();
    stop_on_signal(shutdown.clone());
    let authority = own.open(&mut config, listener.local_addr()?).await?;
    let app = tokio::select! {
        app = App::build(config, listener, (Clock::SYSTEM, Random::SYSTEM)) => app?,
        () = shutdown.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    let app = app.with_outputs(log.outputs(traces.as_ref()));
    tracing::info!(listen = %app.local_addr()?, "the market is open");
    if let Some(authority) = &authority {
        own.report(authority, app.local_addr()?)?;
    }
    let outcome = app.run(shutdown).await;
    if let Some(authority) = authority {
        authority.enrolment.close();
    }
    // Also after a failure, so that the last spans are sent.
    if let Some(traces) = traces {
        traces.close().await;
    }
    if let Err(error @ ServeError::StoreFailed(_)) = &outcome {
        // Writes what is still buffered.
        drop(log);
        errln!("error: {error}");
        // Not by returning, which would wait for threads and close the store: after a failed sync, SQLite must
        // not touch its files any more.
        std::process::exit(exit::ERROR.into());
    }
    outcome?;
    tracing::info!("the market is closed");
    Ok(ExitCode::SUCCESS)
}

impl ServeArgs {
    fn settings(self) -> anyhow::Result<(Config, OwnAuthorityArgs)> {
        let store = StoreFlags { path: self.store, password_file: self.store_password_file };
        let mut config = Config::load_under(self.config.as_deref(), &self.set, store)?;
        set(&mut config.server.listen, self.listen);
        config.server.admin_listen = self.admin_listen.or(config.server.admin_listen);
        if self.own.is_given() {
            // It makes the certificate.
            config.tls.context = None;
        } else {
            let is_set = |name: &str| self.set.iter().any(|assignment| assignment.sets(name));
            let joined = || home::market().filter(|folder| Context::at(folder).is_complete());
            self.files.put_into(&mut config.tls, is_set, joined)?;
        }
        config.tls.strict_crl |= self.strict_crl;
        config.callbacks.allow.extend(self.callback_allow);
        config.callbacks.allow_loopback |= self.allow_loopback_callbacks;
        set(&mut config.log.format, self.log_format);
        set(&mut config.log.level, self.log);
        set(&mut config.traces.otlp_endpoint, self.otlp_endpoint.or_else(standard_endpoint));
        set(&mut config.traces.sample_ratio, self.trace_sample_ratio);
        config.check()?;
        Ok((config, self.own))
    }
}

/// Returns the collector from the standard variables. Like other variables they override the settings file,
/// and our own variable overrides them.
fn standard_endpoint() -> Option<String> {
    let mut given = STANDARD_ENDPOINTS.into_iter().filter_map(|name| std::env::var(name).ok());
    given.find(|endpoint| !endpoint.is_empty())
}

fn set<T>(setting: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *setting = given;
    }
}

/// Drains the market at the first signal, and exits at once at the second.
fn stop_on_signal(shutdown: CancellationToken) {
    // Registered before the function returns: until then, a signal would end the process without a drain.
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("can't handle signals: the market will stop without a drain");
        return;
    };
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => shutdown.cancel(),
            _ = interrupt.recv() => shutdown.cancel(),
        }
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("received a second signal: stopping without a drain");
        std::process::exit(i32::from(souk_cli::exit::INTERRUPTED));
    });
}
