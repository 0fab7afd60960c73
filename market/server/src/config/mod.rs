//! The market's settings: one struct for each concern.
//!
//! `default.toml` is both the documentation and the source of the defaults; a file of the operator's is
//! laid over it, and flags and environment over that. Unknown keys are refused.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use serde::Deserialize;
use souk_certs::{
    acceptor::AcceptorLimits,
    credentials::{CredentialFiles, StaleLists},
    identity::TrustDomain,
};
use toml::{Table, Value};

mod store;
mod traces;

use store::StoreSettings;
pub use store::{StoreConfig, StoreFlags};
pub use traces::TraceConfig;

/// The longest drain that may be set.
const MAX_DRAIN_SECONDS: u64 = 60;
/// The most server threads that may be set.
const MAX_THREADS: usize = 256;

/// All settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server itself.
    pub server: ServerConfig,
    /// Certificates and keys.
    pub tls: TlsConfig,
    /// Where everything is kept.
    pub store: StoreConfig,
    /// Whom the market calls back.
    pub callbacks: CallbackConfig,
    /// How much one party may ask for.
    pub limits: LimitConfig,
    /// What is logged.
    pub log: LogConfig,
    /// Where the spans of calls go.
    pub traces: TraceConfig,
}

/// All settings as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    server: ServerConfig,
    tls: TlsConfig,
    store: StoreSettings,
    callbacks: CallbackConfig,
    limits: LimitConfig,
    log: LogConfig,
    traces: TraceConfig,
}

/// The server itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Server threads; 0: one for each core.
    pub threads: usize,
    /// Where to tell figures over plain HTTP; `None`: nowhere.
    pub admin_listen: Option<SocketAddr>,
    drain_seconds: u64,
}

/// Certificates and keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The market's certificate.
    pub cert: PathBuf,
    /// Its key, unless beside it.
    pub key: Option<PathBuf>,
    /// The authority's certificate, unless beside it.
    pub ca: Option<PathBuf>,
    /// The revoked certificates, unless beside it.
    pub crl: Option<PathBuf>,
    /// The key for signing tokens, unless beside it.
    pub token_key: Option<PathBuf>,
    /// Whether a revocation list past its `nextUpdate` shuts everybody out.
    pub strict_crl: bool,
    /// The part of every SPIFFE ID between `spiffe://` and the role.
    pub trust_domain: TrustDomain,
}

/// Whom the market calls back.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallbackConfig {
    /// Networks of other hosts that may be called.
    pub allow: Vec<IpNet>,
    /// Whether this very machine may be called.
    pub allow_loopback: bool,
}

/// How much one party may ask for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitConfig {
    /// Calls a second by one seller.
    pub seller_calls_per_second: u32,
    /// Calls a second by one buyer.
    pub buyer_calls_per_second: u32,
    /// Calls at once.
    pub burst_calls: u32,
    /// Open connections.
    pub connections: usize,
    /// Open connections of one party.
    pub connections_of_party: usize,
    /// Handshakes under way.
    pub handshakes: usize,
    /// Handshakes under way from one address.
    pub handshakes_of_address: usize,
    /// Calls under way, over all connections.
    pub calls_under_way: usize,
    /// Calls under way of one party.
    pub calls_of_party: usize,
}

/// What is logged.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// For whom.
    pub format: LogFormat,
    /// Which lines.
    pub level: String,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Words,
    /// For machines: one JSON object a line.
    Json,
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read the settings file {path}: {source}; check the path given with --config")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not TOML, or holds an unknown key or a value of the wrong kind.
    #[error("the settings are wrong: {0}")]
    Malformed(#[from] toml::de::Error),
    /// A value is out of bounds.
    #[error("the setting {key} is wrong: {problem}")]
    OutOfBounds {
        /// The setting.
        key: &'static str,
        /// What is wrong with it and what to do.
        problem: String,
    },
}

impl Config {
    /// The documented default settings.
    pub const DEFAULTS: &str = include_str!("default.toml");

    /// The defaults, with a file of the operator's laid over them.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_under(file, StoreFlags::default())
    }

    /// As [`Config::load`], with flags laid over where the store is.
    pub fn load_under(file: Option<&Path>, store: StoreFlags) -> Result<Self, ConfigError> {
        let mut table: Table = Self::DEFAULTS.parse()?;
        if let Some(path) = file {
            let text = fs::read_to_string(path)
                .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
            lay_over(&mut table, text.parse()?);
        }
        let settings: Settings = Value::Table(table).try_into()?;
        let config = Self {
            server: settings.server,
            tls: settings.tls,
            store: settings.store.under(store),
            callbacks: settings.callbacks,
            limits: settings.limits,
            log: settings.log,
            traces: settings.traces,
        };
        config.check()?;
        Ok(config)
    }

    /// Refuses values out of bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, problem: String| Err(ConfigError::OutOfBounds { key, problem });
        if !(1..=MAX_DRAIN_SECONDS).contains(&self.server.drain_seconds) {
            return wrong("server.drain_seconds", format!("give 1 to {MAX_DRAIN_SECONDS}"));
        }
        if self.server.threads > MAX_THREADS {
            return wrong("server.threads", format!("give 0 to {MAX_THREADS}"));
        }
        if self.limits.seller_calls_per_second == 0 || self.limits.buyer_calls_per_second == 0 {
            return wrong("limits", "calls per second must be 1 or more".into());
        }
        if self.limits.burst_calls == 0 {
            return wrong("limits.burst_calls", "give 1 or more".into());
        }
        let bounds = [
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
        self.traces.check()
    }

    /// Combinations that work but that an operator should know of.
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
        if self.server.admin_listen.is_some_and(|admin| !admin.ip().is_loopback()) {
            warnings.push("server.admin_listen is no loopback address: anybody who reaches it may read it");
        }
        if self.traces.is_readable_by_others() {
            warnings
                .push("traces.otlp_endpoint is plain http: whoever is on the way there can read the spans");
        }
        warnings
    }
}

impl ServerConfig {
    /// How long a shutdown waits for calls under way.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }

    /// How many server threads to start.
    pub fn thread_count(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

impl TlsConfig {
    /// The files that make up the market's identity.
    pub fn files(&self) -> CredentialFiles {
        let crl = self.crl.clone().unwrap_or_else(|| self.cert.with_file_name("crl.pem"));
        CredentialFiles {
            cert: self.cert.clone(),
            key: self.key.clone(),
            ca: self.ca.clone(),
            // Named even when it is beside the certificate: a market without a CRL must not start.
            crl: Some(crl),
        }
    }

    /// The keys for signing tokens.
    pub fn token_key_files(&self) -> TokenKeyFiles {
        let current = self.token_key.clone().unwrap_or_else(|| self.cert.with_file_name("token.key"));
        TokenKeyFiles { previous: current.with_extension("previous.key"), current }
    }

    /// What to do about a revocation list that is out of date.
    pub fn stale_lists(&self) -> StaleLists {
        if self.strict_crl { StaleLists::Refuse } else { StaleLists::Warn }
    }
}

/// Where the keys for signing tokens lie.
#[derive(Clone, Debug)]
pub struct TokenKeyFiles {
    /// The key that signs.
    pub current: PathBuf,
    /// The one that signed before it, when there is such a file: its tokens are good to their end.
    pub previous: PathBuf,
}

impl TokenKeyFiles {
    /// The files, to be watched.
    pub fn paths(&self) -> [PathBuf; 2] {
        [self.current.clone(), self.previous.clone()]
    }
}

impl LimitConfig {
    /// Those of connections.
    pub fn acceptor(&self) -> AcceptorLimits {
        AcceptorLimits {
            handshakes: self.handshakes,
            connections: self.connections,
            connections_of_party: self.connections_of_party,
            ..AcceptorLimits::default()
        }
    }
}

fn lay_over(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => lay_over(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_defaults_load() {
        let config = Config::load(None).unwrap();
        assert!(config.warnings().is_empty());
        assert_eq!(config.store.index_directory(), Some(Path::new("souk.index")));
    }

    #[test]
    fn unknown_keys_and_values_out_of_bounds_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("market.toml");
        for text in
            ["[server]\nlisen = \"[::]:1\"", "[server]\ndrain_seconds = 0", "[limits]\nburst_calls = 0"]
        {
            fs::write(&file, text).unwrap();
            assert!(Config::load(Some(&file)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_wrong_trust_domain_is_named_by_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("market.toml");
        fs::write(&file, "[tls]\ntrust_domain = \"Souk\"").unwrap();
        let error = Config::load(Some(&file)).unwrap_err().to_string();
        assert!(error.contains("tls.trust_domain") && error.contains("lower-case DNS name"), "{error}");
    }
}
