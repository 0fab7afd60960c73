//! The common flags and the order in which their sources are consulted: flag, environment (`SOUK_*`),
//! settings file, default.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use serde::Deserialize;
use souk_certs::{clock::Clock, credentials::CredentialFiles, identity::TrustDomain, random::Random};
use souk_client::{
    CallbackAddress, ClientConfig,
    config::{self, MarketAddresses, parse_timeout},
    timing::{CallTiming, Timings},
};
use souk_stdio::errln;

use super::{Format, Output, consumer, files, formatting::FormatFlags, plain, when::TimeStyle};
use crate::Failure;

const DEFAULT_MARKET: &str = "localhost:7443";

/// Flags of every command.
#[derive(Args, Clone, Debug, Default)]
pub struct CommonFlags {
    /// Where the market listens; several addresses, with commas or the flag repeated, share the calls, and
    /// replace one that fails [default: localhost:7443].
    #[arg(
        long,
        global = true,
        env = "SOUK_MARKET",
        value_name = "HOST:PORT[,…]",
        help_heading = "Connection"
    )]
    pub market: Vec<String>,
    /// Your certificate: it is your account.
    #[arg(long, global = true, env = "SOUK_CERT", value_name = "FILE", help_heading = "Connection")]
    pub cert: Option<PathBuf>,
    /// Its key [default: beside the certificate, alice.pem → alice.key].
    #[arg(long, global = true, env = "SOUK_KEY", value_name = "FILE", help_heading = "Connection")]
    pub key: Option<PathBuf>,
    /// The authority's certificate [default: ca.pem beside the certificate].
    #[arg(long, global = true, env = "SOUK_CA", value_name = "FILE", help_heading = "Connection")]
    pub ca: Option<PathBuf>,
    /// The list of revoked certificates [default: crl.pem beside the certificate, when there].
    #[arg(long, global = true, env = "SOUK_CRL", value_name = "FILE", help_heading = "Connection")]
    pub crl: Option<PathBuf>,
    /// Open a callback server here for notifications; without it they come by a stream (behind NAT).
    #[arg(long, global = true, env = "SOUK_LISTEN", value_name = "IP:PORT", help_heading = "Connection")]
    pub listen: Option<SocketAddr>,
    /// The callback server's address that is registered at the market [default: where you connect from].
    #[arg(
        long,
        global = true,
        env = "SOUK_ADVERTISE",
        value_name = "HOST:PORT",
        help_heading = "Connection"
    )]
    pub advertise: Option<CallbackAddress>,
    /// The name under which this program follows your mailbox. Each name gets every event; a second program under the
    /// same name gets only new ones [default: program@host].
    #[arg(long, global = true, env = "SOUK_CONSUMER", value_name = "NAME", help_heading = "Connection")]
    pub consumer: Option<String>,
    /// How long a call may take with all repeats, such as 500ms, 10s or 2m [default: 10s].
    #[arg(long, global = true, env = "SOUK_TIMEOUT", value_name = "TIME", value_parser = timeout, help_heading = "Connection")]
    pub timeout: Option<Duration>,
    /// Print how long each call takes, its attempts and the market's share, on standard error.
    #[arg(long, global = true, env = "SOUK_TIMINGS", help_heading = "Output")]
    pub timings: bool,
    /// How results are written [default: table].
    #[arg(long, global = true, env = "SOUK_OUTPUT", value_name = "FORMAT", help_heading = "Output")]
    pub output: Option<Output>,
    /// The fields, times and form of results.
    #[command(flatten)]
    pub format: FormatFlags,
    /// The currency of amounts without one, such as GBP.
    #[arg(long, global = true, env = "SOUK_CURRENCY", value_name = "CODE", help_heading = "Output")]
    pub currency: Option<String>,
    /// No colours (so does the variable NO_COLOR).
    #[arg(long, global = true, help_heading = "Output")]
    pub no_color: bool,
    /// Settings file [default: ~/.config/souk/seller.toml, buyer.toml or, for market admin, admin.toml].
    #[arg(long, global = true, env = "SOUK_CONFIG", value_name = "FILE", help_heading = "Connection")]
    pub config: Option<PathBuf>,
}

fn timeout(text: &str) -> Result<Duration, config::ConfigError> {
    parse_timeout(text)
}

/// The settings file. Its keys are the flags' names.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    #[serde(default)]
    market: Addresses,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    ca: Option<PathBuf>,
    crl: Option<PathBuf>,
    listen: Option<SocketAddr>,
    advertise: Option<String>,
    consumer: Option<String>,
    timeout: Option<String>,
    output: Option<Output>,
    currency: Option<String>,
    #[serde(default)]
    timings: bool,
    time: Option<TimeStyle>,
    #[serde(default)]
    fields: Vec<String>,
    jq: Option<String>,
    template: Option<String>,
}

/// One text, or a list of them.
#[derive(Deserialize)]
#[serde(untagged, expecting = "market is HOST:PORT, or a list of them")]
enum Addresses {
    One(String),
    Several(Vec<String>),
}

impl Default for Addresses {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

/// The values after all sources have been consulted.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The settings of the connection; `None` if no certificate was named.
    pub client: Option<ClientConfig>,
    /// The name under which the mailbox is followed.
    pub consumer: String,
    /// How results are written.
    pub output: Output,
    /// The currency of amounts without one.
    pub currency: Option<String>,
    /// The fields, times and form of results.
    pub format: Format,
    /// Whether to use colours.
    pub color: bool,
}

impl CommonFlags {
    /// Consults all sources. `program` determines the default settings file.
    ///
    /// # Errors
    /// The settings file can't be read or is invalid, or a value is malformed.
    pub fn resolve(&self, program: &str) -> Result<Resolved, Failure> {
        let settings = self.settings(program)?;
        let market = match (self.market.as_slice(), settings.market) {
            ([], Addresses::One(text)) => MarketAddresses::parse([text]),
            ([], Addresses::Several(texts)) if texts.is_empty() => MarketAddresses::parse([DEFAULT_MARKET]),
            ([], Addresses::Several(texts)) => MarketAddresses::parse(texts),
            (flags, _) => MarketAddresses::parse(flags),
        };
        let market = market.map_err(|error| {
            let hint = "write --market as HOST:PORT; several of them with commas in between";
            Failure::usage(format!("{error}"), hint)
        })?;
        let advertise = match settings.advertise {
            Some(text) => Some(text.parse()?),
            None => None,
        };
        let timeout = match (self.timeout, settings.timeout) {
            (Some(timeout), _) => timeout,
            (None, Some(text)) => parse_timeout(&text)?,
            (None, None) => config::DEFAULT_TIMEOUT,
        };
        let client = self.cert.clone().or(settings.cert).map(|cert| ClientConfig {
            market,
            credentials: CredentialFiles {
                cert,
                key: self.key.clone().or(settings.key),
                ca: self.ca.clone().or(settings.ca),
                crl: self.crl.clone().or(settings.crl),
            },
            trust_domain: TrustDomain::default(),
            timeout,
            listen: self.listen.or(settings.listen),
            advertise: self.advertise.clone().or(advertise),
            timings: (self.timings || settings.timings).then(|| Timings::new(print_timing)),
            clock: Clock::SYSTEM,
            random: Random::SYSTEM,
        });
        let consumer = self.consumer.clone().or(settings.consumer);
        let in_file = FormatFlags {
            time: settings.time,
            fields: settings.fields,
            jq: settings.jq,
            template: settings.template,
        };
        Ok(Resolved {
            client,
            consumer: consumer.unwrap_or_else(|| consumer::default_name(program)),
            output: self.output.or(settings.output).unwrap_or_default(),
            currency: self.currency.clone().or(settings.currency),
            format: self.format.clone().over(in_file).apply(&Format::default())?,
            color: !self.no_color,
        })
    }

    fn settings(&self, program: &str) -> Result<Settings, Failure> {
        let default = files::config_folder().map(|folder| folder.join(format!("{program}.toml")));
        match (&self.config, default) {
            (Some(path), _) => read(path),
            (None, Some(path)) if path.exists() => read(&path),
            _ => Ok(Settings::default()),
        }
    }
}

/// Prints how long a call took. The request id comes from the market, so it is escaped for the terminal.
fn print_timing(call: &CallTiming) {
    errln!("timing: {}", plain(&call.to_string()));
}

fn read(path: &Path) -> Result<Settings, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::io(format!("read the settings file {}", path.display()), error))?;
    toml::from_str(&text).map_err(|error| {
        Failure::usage(
            format!("the settings file {} is wrong: {}", path.display(), error.to_string().trim_end()),
            "its keys are: market, cert, key, ca, crl, listen, advertise, consumer, timeout, output, currency, timings, time, \
             fields, jq, template",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(text: &str, flags: CommonFlags) -> Result<Resolved, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seller.toml");
        fs::write(&path, text).unwrap();
        CommonFlags { config: Some(path), ..flags }.resolve("seller")
    }

    #[test]
    fn a_flag_overrules_the_file_and_the_file_the_default() {
        let text = "cert = \"file.pem\"\nmarket = \"file:1\"\noutput = \"json\"\ntimeout = \"3s\"";
        let flags = CommonFlags { market: vec!["flag:2".into()], ..CommonFlags::default() };
        let resolved = with_file(text, flags).unwrap();
        let client = resolved.client.unwrap();
        assert_eq!(client.market.to_string(), "flag:2");
        assert_eq!(client.credentials.cert, PathBuf::from("file.pem"));
        assert_eq!(client.timeout, Duration::from_secs(3));
        assert_eq!(resolved.output, Output::Json);
        assert!(client.timings.is_none());
        let default = with_file("cert = \"c.pem\"", CommonFlags::default()).unwrap().client.unwrap();
        assert_eq!(default.market.to_string(), DEFAULT_MARKET);
        let timed = with_file("cert = \"c.pem\"\ntimings = true", CommonFlags::default()).unwrap();
        assert!(timed.client.unwrap().timings.is_some());
    }

    #[test]
    fn a_market_has_one_address_or_several() {
        let read = |text: &str, flags: &[&str]| {
            let market = flags.iter().map(|&flag| flag.to_owned()).collect();
            let resolved = with_file(text, CommonFlags { market, ..CommonFlags::default() })?;
            Ok::<_, Failure>(resolved.client.unwrap().market.to_string())
        };
        let cert = "cert = \"c.pem\"\n";
        assert_eq!(read(&format!("{cert}market = \"a:1, b:2\""), &[]).unwrap(), "a:1,b:2");
        assert_eq!(read(&format!("{cert}market = [\"a:1\", \"b:2\"]"), &[]).unwrap(), "a:1,b:2");
        assert_eq!(read(&format!("{cert}market = [\"a:1\"]"), &["c:3", "d:4,c:3"]).unwrap(), "c:3,d:4");
        for (text, named) in [("market = [\"a:1\", \"b\"]", "'b'"), ("market = 7", "HOST:PORT")] {
            let failure = read(&format!("{cert}{text}"), &[]).unwrap_err();
            assert!(failure.to_string().contains(named), "{failure}");
        }
        let many: Vec<_> = (1..=17).map(|port| format!("a:{port}")).collect();
        assert!(read(cert, &[&many.join(",")]).unwrap_err().to_string().contains("16"));
    }

    #[test]
    fn unknown_keys_and_malformed_values_are_refused_with_the_known_ones() {
        let failure = with_file("markt = \"x:1\"", CommonFlags::default()).unwrap_err();
        assert!(failure.to_string().contains("markt"), "{failure}");
        assert!(failure.hint().unwrap().contains("market"));
        for text in ["timeout = \"soon\"", "market = \"nowhere\"", "listen = 7", "output = \"xml\""] {
            assert!(with_file(text, CommonFlags::default()).is_err(), "{text}");
        }
    }
}
