//! The market's settings, with one struct per concern.
//!
//! `default.toml` is both the documentation and the source of the defaults. The operator's file overrides it, and
//! environment variables and flags override the file. Unknown keys are rejected.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use serde::Deserialize;
use souk_certs::acceptor::AcceptorLimits;
use souk_domain::ImportRow;
use souk_settings::{SettingsError, SettingsFile, expanded};
use toml::Table;

mod assignment;
mod file;
mod retention;
mod search;
mod store;
mod tls;
mod traces;

pub use assignment::Assignment;
pub use retention::RetentionConfig;
pub(crate) use search::read_lines as read_synonyms;
pub use search::{SearchConfig, SynonymSource};
use store::StoreSettings;
pub use store::{StoreConfig, StoreFlags};
pub use tls::{TlsConfig, TokenKeyFiles};
pub use traces::TraceConfig;

/// Upper bound of `server.drain_seconds`.
const MAX_DRAIN_SECONDS: u64 = 60;
/// Upper bound of `server.threads`.
const MAX_THREADS: usize = 256;

/// All settings of the market.
#[derive(Clone, Debug)]
pub struct Config {
    /// Section `[server]`: listening, threads and shutdown.
    pub server: ServerConfig,
    /// Section `[tls]`: certificates and keys.
    pub tls: TlsConfig,
    /// Section `[store]`: the database and the search index.
    pub store: StoreConfig,
    /// Section `[search]`: how words are understood.
    pub search: SearchConfig,
    /// Section `[callbacks]`: permitted callback addresses.
    pub callbacks: CallbackConfig,
    /// Section `[limits]`: bounds on rates, calls, connections and handshakes.
    pub limits: LimitConfig,
    /// Section `[retention]`: how long rows are kept.
    pub retention: RetentionConfig,
    /// Section `[log]`: format and level of the log.
    pub log: LogConfig,
    /// Section `[traces]`: the export of spans.
    pub traces: TraceConfig,
}

/// All settings as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    server: ServerConfig,
    tls: TlsConfig,
    store: StoreSettings,
    search: SearchConfig,
    callbacks: CallbackConfig,
    limits: LimitConfig,
    retention: RetentionConfig,
    log: LogConfig,
    traces: TraceConfig,
}

/// Listening, threads and shutdown.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Address on which the market listens. Port 0 chooses a free port.
    pub listen: SocketAddr,
    /// Networks of load balancers. Connections from there must begin with a header of the PROXY protocol, version 2.
    pub proxy_protocol: Vec<IpNet>,
    /// Number of server threads. 0 means one per core.
    pub threads: usize,
    /// Address for metrics and health checks over plain HTTP. `None` disables them.
    pub admin_listen: Option<SocketAddr>,
    drain_seconds: u64,
}

/// Permitted callback addresses, other than the source address of a party's connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallbackConfig {
    /// Networks to which the market may connect.
    pub allow: Vec<IpNet>,
    /// Whether the market may connect to its own machine, for development.
    pub allow_loopback: bool,
}

/// Bounds on rates, calls, connections and handshakes.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitConfig {
    /// Sustained rate of calls per second of one seller.
    pub seller_calls_per_second: u32,
    /// Sustained rate of calls per second of one buyer.
    pub buyer_calls_per_second: u32,
    /// Maximum burst of calls of one party.
    pub burst_calls: u32,
    /// Sustained rate of imported rows per second of one seller, over all of its imports.
    pub import_rows_per_second: u32,
    /// Maximum number of open connections.
    pub connections: usize,
    /// Maximum number of open connections of one party.
    pub connections_of_party: usize,
    /// Maximum number of concurrent handshakes.
    pub handshakes: usize,
    /// Maximum number of concurrent handshakes from one address.
    pub handshakes_of_address: usize,
    /// Sustained rate of handshakes from one address, of which failed ones count as several.
    pub handshakes_per_second_of_address: u32,
    /// Maximum number of concurrent calls, over all connections.
    pub calls_under_way: usize,
    /// Maximum number of concurrent calls of one party.
    pub calls_of_party: usize,
}

/// Format and level of the log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// Whether lines are written for people or machines.
    pub format: LogFormat,
    /// A level such as `info`, or directives of the tracing crate.
    pub level: String,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Plain text, for people
    Words,
    /// One JSON object per line, for machines
    Json,
}

/// Why settings were rejected.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read, or a line of it is wrong.
    #[error(transparent)]
    File(#[from] SettingsError),
    /// A setting on the command line is unknown, or its value has the wrong type.
    #[error("--set {setting} is wrong: {problem}; `market serve --print-config` prints all settings")]
    Assignment {
        /// The setting as it was given.
        setting: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The settings are inconsistent.
    #[error("the settings are wrong: {}", .0.message())]
    Malformed(#[from] toml::de::Error),
    /// The folder of `market join` can't be used.
    #[error("the certificate of market join in {} can't be used: {problem}", folder.display())]
    Context {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// A value is out of bounds.
    #[error("the setting {key} is wrong: {problem}")]
    OutOfBounds {
        /// The name of the setting, with its section.
        key: &'static str,
        /// What is wrong with it and what to do.
        problem: String,
    },
}

impl Config {
    /// The default settings as documented TOML.
    pub const DEFAULTS: &str = include_str!("default.toml");

    /// Loads the defaults, overridden by the operator's file if there is one.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_under(file, &[], StoreFlags::default())
    }

    /// Like [`Config::load`], with single settings that override the file, and flags that override where the store is.
    pub fn load_under(
        file: Option<&Path>,
        assigned: &[Assignment],
        store: StoreFlags,
    ) -> Result<Self, ConfigError> {
        let mut table: Table = Self::DEFAULTS.parse()?;
        let file = file.map(expanded).map(|path| SettingsFile::read(&path)).transpose()?;
        if let Some(file) = &file {
            table = file::lay_over(&table, file)?;
        }
        for assignment in assigned {
            assignment.apply(&mut table)?;
        }
        let settings = file::parsed(table)?;
        let config = Self {
            server: settings.server,
            tls: settings.tls,
            store: settings.store.under(store),
            search: settings.search,
            callbacks: settings.callbacks,
            limits: settings.limits,
            retention: settings.retention,
            log: settings.log,
            traces: settings.traces,
        };
        config.check().map_err(|error| file::located(error, file.as_ref()))?;
        Ok(config)
    }

    /// Checks the bounds of all values. To be called again after flags have changed them.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, problem: String| Err(ConfigError::OutOfBounds { key, problem });
        if !(1..=MAX_DRAIN_SECONDS).contains(&self.server.drain_seconds) {
            return wrong("server.drain_seconds", format!("give 1 to {MAX_DRAIN_SECONDS}"));
        }
        if self.server.threads > MAX_THREADS {
            return wrong("server.threads", format!("give 0 to {MAX_THREADS}"));
        }
        if (self.limits.import_rows_per_second as usize) < ImportRow::MAX_AT_ONCE {
            let least = ImportRow::MAX_AT_ONCE;
            return wrong("limits.import_rows_per_second", format!("give {least} or more"));
        }
        let handshakes = self.limits.handshakes_per_second_of_address;
        let bounds = [
            ("limits.seller_calls_per_second", self.limits.seller_calls_per_second as usize),
            ("limits.buyer_calls_per_second", self.limits.buyer_calls_per_second as usize),
            ("limits.burst_calls", self.limits.burst_calls as usize),
            ("limits.handshakes_per_second_of_address", handshakes as usize),
            ("limits.calls_under_way", self.limits.calls_under_way),
            ("limits.connections", self.limits.connections),
            ("limits.connections_of_party", self.limits.connections_of_party),
            ("limits.handshakes", self.limits.handshakes),
            ("limits.handshakes_of_address", self.limits.handshakes_of_address),
            ("limits.calls_of_party", self.limits.calls_of_party),
        ];
        for (key, value) in bounds {
            if value == 0 {
                return wrong(key, "give 1 or more".into());
            }
        }
        self.search.check()?;
        self.retention.check()?;
        self.traces.check()
    }

    /// Returns warnings about risky settings, to be logged at the start.
    pub fn warnings(&self) -> Vec<&'static str> {
        let mut warnings = Vec::new();
        if self.store.is_memory() {
            warnings.push("store.path is \"memory\": everything is lost when the market ends");
        }
        if self.callbacks.allow_loopback && !self.server.listen.ip().is_loopback() {
            warnings.push(
                "callbacks.allow_loopback lets any party make the market connect to services on this machine",
            );
        }
        if self.callbacks.allow.iter().any(|network| network.prefix_len() == 0) {
            warnings.push("callbacks.allow holds a network of all addresses: any host may be called");
        }
        if self.server.proxy_protocol.iter().any(|network| network.prefix_len() == 0) {
            warnings.push(
                "server.proxy_protocol holds a network of all addresses: any host may claim any address",
            );
        }
        if self.server.admin_listen.is_some_and(|admin| !admin.ip().is_loopback()) {
            warnings.push("server.admin_listen is no loopback address: anybody who reaches it may read it");
        }
        if self.traces.is_readable_by_others() {
            warnings
                .push("traces.otlp_endpoint is plain http: anyone on the network path can read the spans");
        }
        warnings
    }
}

impl ServerConfig {
    /// Returns how long a shutdown waits for calls in progress.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }

    /// Returns the number of server threads to start, at least 1.
    pub fn thread_count(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

impl LimitConfig {
    /// Returns the limits for the acceptor of connections.
    pub fn acceptor(&self) -> AcceptorLimits {
        AcceptorLimits {
            handshakes: self.handshakes,
            handshakes_of_address: self.handshakes_of_address,
            handshakes_per_second_of_address: self.handshakes_per_second_of_address,
            connections: self.connections,
            connections_of_party: self.connections_of_party,
            ..AcceptorLimits::default()
        }
    }
}

#[cfg(test)]
mod tests;
