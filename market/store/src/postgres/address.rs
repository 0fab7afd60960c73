//! The address of the database, and how to connect to it: `postgres://USER@HOST[:PORT][,HOST…]/DATABASE`.
//!
//! Over a network, only TLS 1.3 or 1.2 with a verified server name (`sslmode=verify-full`) is allowed; plain
//! text only on the same machine or at the operator's explicit request (`sslmode=disable`). Of several
//! hosts, the one that accepts writes is used. A password is not accepted in the address, which process
//! lists and logs show.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::StoreError;

/// How long sent data may stay unacknowledged before the kernel closes the connection.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
/// The time limit for a TCP connection to one IP address of a host, unless the operator sets another. A name
/// may have several addresses, and one that drops packets must leave time for the next.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_500);
/// TCP keep-alive: the idle time before the first probe, the interval of probes, and how many may fail.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_RETRIES: u32 = 3;
/// The settings of each session. Waits for a lock and idle times in a transaction are bounded, and the
/// server notices a client that has gone away even while a statement runs. There is no `statement_timeout`:
/// it would also cancel a commit that waits for its standby, and the server would then report that commit as
/// done.
///
/// Warnings are enabled regardless of the role's or database's setting, because a warning is the only sign
/// of a commit whose wait was cancelled. Between loading and saving a batch only rules run, so a market that
/// stays idle in a transaction for longer is gone, and its locks must not block others.
///
/// Every statement looks up rows through an index. A plan that is made while a table is small would scan it,
/// and is kept while the table grows until statistics are collected; so scans are disabled. Statements are
/// too short for JIT compilation to pay off.
pub(super) const SESSION: &str = "-c lock_timeout=2s -c idle_in_transaction_session_timeout=5s \
                       -c client_connection_check_interval=1s -c client_min_messages=warning -c timezone=UTC \
                       -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off";

/// A database, with everything that is needed to open sessions.
#[derive(Clone)]
pub(super) struct Address {
    /// One configuration per host, in the given order.
    hosts: Vec<Config>,
    /// The index of the host that accepted the last session. It is tried first, because the others are
    /// usually standbys.
    last_good: Arc<AtomicUsize>,
    /// Raised whenever the server has changed or does not respond. Sessions of an older generation are not
    /// used any more.
    generation: Arc<AtomicU64>,
    /// The TLS configuration; `None` for plain text.
    pub(super) tls: Option<MakeRustlsConnect>,
    /// The address without secrets, for messages.
    pub(super) shown: String,
}

/// The generation that a session was opened in, with the current one for comparison.
pub(super) struct Generation {
    own: u64,
    present: Arc<AtomicU64>,
}

impl Generation {
    /// Returns whether the server has changed or gone silent since the session was opened.
    pub(super) fn is_past(&self) -> bool {
        self.own != self.present.load(Ordering::Relaxed)
    }

    /// Invalidates all sessions of this generation and before.
    pub(super) fn advance(&self) {
        // Compare-and-swap: many sessions find out at the same time, and the generation must rise only once,
        // or it would invalidate the sessions that were opened since.
        let _ = self.present.compare_exchange(self.own, self.own + 1, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Settings that belong to an address but must not, or need not, be part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostgresOptions {
    /// The file that contains the password. Without it, `PGPASSWORD` is used.
    pub password_file: Option<PathBuf>,
    /// The PEM file of the authority that signed the server's certificate; `sslrootcert` in the address
    /// takes precedence.
    pub ca: Option<PathBuf>,
}

/// Returns whether a store's location is the address of a database rather than a file.
pub fn is_address(place: &Path) -> bool {
    place.to_str().is_some_and(|place| place.starts_with("postgres://") || place.starts_with("postgresql://"))
}

impl Address {
    /// Parses an address and reads the files that it refers to.
    pub(super) fn read(address: &str, options: &PostgresOptions) -> Result<Self, StoreError> {
        let wrong =
            |problem: String| StoreError::unavailable(format!("the store's address is wrong: {problem}"));
        let (plain, ours) = split(address);
        let mut config: Config = plain.parse().map_err(|error: tokio_postgres::Error| {
            // The cause is left out, because it may quote a password.
            wrong(format!("{error}; give postgres://USER@HOST/DATABASE"))
        })?;
        if config.get_password().is_some() {
            // Refused rather than accepted with a warning, because by now it is in the process list.
            return Err(wrong(
                "it holds a password, which others could see; take it out and set store.password_file or PGPASSWORD".into(),
            ));
        }
        if config.get_hosts().is_empty() || config.get_dbname().is_none() {
            return Err(wrong("give host and database, as in postgres://USER@HOST/DATABASE".into()));
        }
        if let Some(password) = password(options)? {
            config.password(password);
        }
        let tls = match ours.sslmode.as_deref() {
            Some("disable") => None,
            None if is_on_this_machine(&config) => None,
            None | Some("verify-full") => Some(tls(ours.sslrootcert.as_ref().or(options.ca.as_ref()))?),
            Some(other) => {
                return Err(wrong(format!(
                    "sslmode={other} does not prove who the server is; give verify-full, or disable for a trusted network"
                )));
            }
        };
        config
            .ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable })
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .tcp_user_timeout(TCP_USER_TIMEOUT)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES)
            .application_name("souk-market")
            .options(SESSION);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        let hosts = one_by_one(&config).map_err(wrong)?;
        Ok(Self { hosts, last_good: Arc::default(), generation: Arc::default(), tls, shown: plain })
    }

    /// Returns the hosts with their indexes, beginning with the one that accepted the last session.
    pub(super) fn hosts(&self) -> impl Iterator<Item = (usize, &Config)> {
        let first = self.last_good.load(Ordering::Relaxed);
        let (before, from) = self.hosts.split_at(first);
        (first..).zip(from).chain(before.iter().enumerate())
    }

    /// Records that a host has accepted a session. If it is another than before, a failover has happened,
    /// and older sessions are invalidated.
    pub(super) fn was_good(&self, place: usize) {
        if self.last_good.swap(place, Ordering::Relaxed) != place {
            self.generation().advance();
        }
    }

    /// Returns the generation of sessions that are opened from now on.
    pub(super) fn generation(&self) -> Generation {
        Generation { own: self.generation.load(Ordering::Relaxed), present: Arc::clone(&self.generation) }
    }
}

/// Splits a configuration into one for each host. Given several hosts, `tokio-postgres` bounds only the TCP
/// connect, and a host that accepts connections and never answers would keep it from the next.
fn one_by_one(config: &Config) -> Result<Vec<Config>, String> {
    let (names, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    if !addresses.is_empty() && addresses.len() != names.len() {
        return Err("give as many hostaddr as hosts, or none".into());
    }
    // The rules of libpq, which operators know from other programs.
    if ports.len() > 1 && ports.len() != names.len() {
        return Err("give each host its port, or one for all".into());
    }
    let single = |(place, name): (usize, &Host)| {
        let mut single = Config::new();
        match name {
            Host::Tcp(name) => single.host(name),
            Host::Unix(folder) => single.host_path(folder),
        };
        if let Some(address) = addresses.get(place) {
            single.hostaddr(*address);
        }
        if let Some(port) = ports.get(place).or(ports.first()) {
            single.port(*port);
        }
        copy_rest(config, &mut single);
        single
    };
    Ok(names.iter().enumerate().map(single).collect())
}

/// Copies all settings that do not concern hosts.
fn copy_rest(from: &Config, to: &mut Config) {
    from.get_user().map(|user| to.user(user));
    from.get_password().map(|password| to.password(password));
    from.get_dbname().map(|name| to.dbname(name));
    from.get_options().map(|options| to.options(options));
    from.get_application_name().map(|name| to.application_name(name));
    from.get_connect_timeout().map(|time| to.connect_timeout(*time));
    from.get_tcp_user_timeout().map(|time| to.tcp_user_timeout(*time));
    from.get_keepalives_interval().map(|time| to.keepalives_interval(time));
    from.get_keepalives_retries().map(|count| to.keepalives_retries(count));
    to.keepalives(from.get_keepalives())
        .keepalives_idle(from.get_keepalives_idle())
        .ssl_mode(from.get_ssl_mode())
        .ssl_negotiation(from.get_ssl_negotiation())
        .channel_binding(from.get_channel_binding())
        .target_session_attrs(from.get_target_session_attrs());
}

/// The parameters that this module interprets itself.
#[derive(Default)]
struct Ours {
    sslmode: Option<String>,
    sslrootcert: Option<PathBuf>,
}

/// Removes our parameters from an address and returns both.
fn split(address: &str) -> (String, Ours) {
    let mut ours = Ours::default();
    let Some((base, parameters)) = address.split_once('?') else { return (address.to_owned(), ours) };
    let mut theirs = Vec::new();
    for parameter in parameters.split('&') {
        match parameter.split_once('=') {
            // Taken out, because `tokio-postgres` rejects `verify-full` and does not know `sslrootcert`.
            Some(("sslmode", mode)) => ours.sslmode = Some(mode.to_owned()),
            Some(("sslrootcert", file)) => ours.sslrootcert = Some(file.replace("%2F", "/").into()),
            _ => theirs.push(parameter),
        }
    }
    let plain = if theirs.is_empty() { base.to_owned() } else { format!("{base}?{}", theirs.join("&")) };
    (plain, ours)
}

fn password(options: &PostgresOptions) -> Result<Option<String>, StoreError> {
    let Some(file) = &options.password_file else { return Ok(std::env::var("PGPASSWORD").ok()) };
    let text = fs::read_to_string(file).map_err(|error| {
        StoreError::unavailable(format!(
            "can't read the password file {}: {error}; check store.password_file",
            file.display()
        ))
    })?;
    // Only line ends are removed: a password may end with a space.
    Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
}

fn is_on_this_machine(config: &Config) -> bool {
    config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => {
            // Other names are not resolved: what they point to may change later, and plain text would then
            // leave the machine.
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        Host::Unix(_) => true,
    }) && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// Returns the number of the first line that begins a block which the parser skips.
fn skipped(pem: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(pem);
    let is_skipped = |line: &str| line.contains("-----BEGIN") && !line.starts_with(BEGIN);
    text.lines().position(is_skipped).map(|line| line + 1)
}

fn tls(ca: Option<&PathBuf>) -> Result<MakeRustlsConnect, StoreError> {
    let ca = ca.ok_or_else(|| {
        StoreError::unavailable(
            "the database is on another machine: name its authority with sslrootcert=FILE in the address, or in store.ca",
        )
    })?;
    let unusable = |problem: String| {
        StoreError::unavailable(format!("can't use the database's authority {}: {problem}", ca.display()))
    };
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(ca).map_err(|error| unusable(error.to_string()))?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    // A file without a certificate is no error to the parser, and would reject every server with a misleading
    // reason.
    if roots.is_empty() {
        return Err(unusable("it holds no certificate".into()));
    }
    if let Some(line) = skipped(&pem) {
        return Err(unusable(format!(
            "line {line} must begin with {BEGIN}, without a byte order mark or spaces"
        )));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(address: &str) -> String {
        match Address::read(address, &PostgresOptions::default()) {
            Ok(_) => panic!("{address} was taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn password_in_the_address_is_refused_and_not_repeated() {
        for address in
            ["postgres://souk:hunter2@localhost/souk", "postgres://souk@localhost/souk?password=hunter2"]
        {
            let refused = refusal(address);
            assert!(refused.contains("PGPASSWORD") && !refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn remote_hosts_need_verified_tls() {
        for (address, message) in [
            ("postgres://souk@db.example/souk", "sslrootcert"),
            ("postgres://souk@localhost,db.example/souk", "sslrootcert"),
            ("postgres://souk@db.example/souk?sslmode=require", "verify-full"),
            ("postgres://souk@db.example/souk?sslmode=prefer", "verify-full"),
            ("postgres://souk@db.example", "database"),
            ("postgres:///souk", "host"),
        ] {
            let refused = refusal(address);
            assert!(refused.contains(message), "{address}: {refused}");
        }
    }

    #[test]
    fn hosts_are_tried_one_by_one_and_the_last_good_one_first() {
        let read = |address: &str| Address::read(address, &PostgresOptions::default()).unwrap();
        let address = read("postgres://souk@127.0.0.1:5433,localhost,[::1]:5435/souk");
        let shown = |address: &Address| -> Vec<_> {
            address.hosts().map(|(place, host)| (place, host.get_ports().to_vec())).collect()
        };
        let (first, second, third) = ((0, vec![5433]), (1, vec![5432]), (2, vec![5435]));
        assert_eq!(shown(&address), [first.clone(), second.clone(), third.clone()]);
        address.was_good(2);
        assert_eq!(shown(&address), [third, first, second]);
        for (_, host) in address.hosts() {
            assert_eq!((host.get_user(), host.get_dbname()), (Some("souk"), Some("souk")));
            assert_eq!(host.get_hosts().len(), 1);
            assert_eq!(host.get_options(), Some(SESSION));
            assert_eq!(host.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        }
    }

    #[test]
    fn local_hosts_and_trusted_networks_may_use_plain_text() {
        for address in [
            "postgres://souk@localhost/souk",
            "postgres://souk@127.0.0.1:5433/souk",
            "postgresql://souk@[::1]/souk",
            "postgres://souk@%2Fvar%2Frun%2Fpostgresql/souk",
            "postgres://souk@db.example/souk?sslmode=disable",
        ] {
            let read = Address::read(address, &PostgresOptions::default()).unwrap();
            assert!(read.tls.is_none(), "{address}");
        }
    }
}
