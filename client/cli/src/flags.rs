//! The common flags and the order in which their sources are consulted: flag, environment (`SOUK_*`), context, settings
//! file, default.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use souk_certs::{clock::Clock, credentials::CredentialFiles, identity::TrustDomain, random::Random};
use souk_client::{
    CallbackAddress, ClientConfig,
    config::{self, AddressesError, MarketAddresses, parse_timeout},
    timing::{CallTiming, Timings},
};
use souk_enrolment::context::ContextFolder;
use souk_settings::expanded;
use souk_stdio::errln;

use super::{
    Format, Output, consumer, files,
    formatting::FormatFlags,
    given::{Given, Origin},
    plain, settings,
};
use crate::{
    Audience, Failure,
    selection::{Named, Selection},
};

/// Flags of every command.
#[derive(Args, Clone, Debug, Default)]
pub struct CommonFlags {
    /// Where each value was given. It comes first: reading the other fields takes the values out.
    #[command(flatten)]
    pub given: Given,
    /// A context that `join` has made: your certificate, its market and its authority [default: the current one].
    #[arg(long, global = true, env = "SOUK_CONTEXT", value_name = "NAME", help_heading = "Connection")]
    pub context: Option<String>,
    /// Where the market listens; several addresses, with commas or the flag repeated, share the calls, and
    /// replace one that fails [default: the context's, or localhost:7443].
    #[arg(
        long,
        global = true,
        env = "SOUK_MARKET",
        value_name = "HOST:PORT[,…]",
        value_parser = addresses,
        help_heading = "Connection"
    )]
    pub market: Vec<String>,
    /// Your certificate: it is your account [default: the context's].
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

/// Checks addresses, so that a wrong one is reported where it stands. They stay text until all of them are known.
fn addresses(text: &str) -> Result<String, AddressesError> {
    MarketAddresses::parse([text]).map(|_| text.to_owned())
}

fn timeout(text: &str) -> Result<Duration, config::ConfigError> {
    parse_timeout(text)
}

/// The values after all sources have been consulted.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The settings of the connection; `None` if no certificate was named, or the context can't be used.
    pub client: Option<ClientConfig>,
    /// The settings of a connection that are the same for every party.
    pub(crate) connecting: Connecting,
    /// The market's addresses.
    pub market: MarketAddresses,
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
    /// The context that was selected, which may be overruled by a certificate that was named elsewhere.
    pub(crate) selection: Selection,
    /// The values as they were given.
    pub(crate) given: Given,
}

/// The settings of a connection that do not depend on the party and the market.
#[derive(Clone, Debug)]
pub(crate) struct Connecting {
    timeout: Duration,
    listen: Option<SocketAddr>,
    advertise: Option<CallbackAddress>,
    timings: Option<Timings>,
}

impl Connecting {
    /// Returns the settings of a party's connection to a market.
    pub(crate) fn to(
        &self,
        market: MarketAddresses,
        credentials: CredentialFiles,
        trust_domain: TrustDomain,
    ) -> ClientConfig {
        ClientConfig {
            market,
            credentials,
            trust_domain,
            timeout: self.timeout,
            listen: self.listen,
            advertise: self.advertise.clone(),
            timings: self.timings.clone(),
            clock: Clock::SYSTEM,
            random: Random::SYSTEM,
        }
    }
}

impl CommonFlags {
    /// Consults all sources. `program` determines the default settings file, and whose contexts are used.
    ///
    /// # Errors
    /// The settings file can't be read or is invalid, or a value is malformed.
    pub fn resolve(&self, program: &str) -> Result<Resolved, Failure> {
        let flags = match self.settings_file(program) {
            Some(path) => self.clone().over(settings::read(&path)?),
            None => self.clone(),
        };
        let audience = Audience::of(program);
        let named = flags.named();
        let selection = Selection::of(&named, audience, ContextFolder::of_user().as_ref());
        let market = selection.market(&named).map_err(|error| {
            let hint = "write --market as HOST:PORT; several of them with commas in between";
            Failure::usage(format!("{error}"), hint)
        })?;
        let connecting = Connecting {
            timeout: flags.timeout.unwrap_or(config::DEFAULT_TIMEOUT),
            listen: flags.listen,
            advertise: flags.advertise,
            timings: flags.timings.then(|| Timings::new(print_timing)),
        };
        let client = selection
            .credentials()
            .map(|credentials| connecting.to(market.clone(), credentials.clone(), selection.trust_domain()));
        Ok(Resolved {
            client,
            connecting,
            market,
            consumer: flags.consumer.unwrap_or_else(|| consumer::default_name(program)),
            output: flags.output.unwrap_or_default(),
            currency: flags.currency,
            format: flags.format.apply(&Format::default())?,
            color: !flags.no_color,
            selection,
            given: flags.given,
        })
    }

    /// Returns the values on which the choice of a context and of the party's files depends.
    pub(crate) fn named(&self) -> Named<'_> {
        let Self { given, context, cert, key, ca, crl, market, .. } = self;
        let files = [cert, key, ca, crl].map(Option::as_deref);
        Named { given, context: context.as_deref(), files, market }
    }

    /// Returns the settings file to read: the one that was named, or the default one if it exists.
    fn settings_file(&self, program: &str) -> Option<PathBuf> {
        match &self.config {
            Some(path) => Some(expanded(path)),
            None => default_settings_file(program),
        }
    }

    /// Returns these flags; where they are not given, those of the settings file. Every field is named, so that a new
    /// flag does not compile until it can also be set in the file.
    pub(crate) fn over(self, file: Self) -> Self {
        let Self {
            given,
            context,
            market,
            cert,
            key,
            ca,
            crl,
            listen,
            advertise,
            consumer,
            timeout,
            timings,
            output,
            format,
            currency,
            no_color,
            config,
        } = self;
        Self {
            given: given.over(file.given.of(Origin::File)),
            context: context.or(file.context),
            market: if market.is_empty() { file.market } else { market },
            cert: cert.or(file.cert),
            key: key.or(file.key),
            ca: ca.or(file.ca),
            crl: crl.or(file.crl),
            listen: listen.or(file.listen),
            advertise: advertise.or(file.advertise),
            consumer: consumer.or(file.consumer),
            timeout: timeout.or(file.timeout),
            timings: timings || file.timings,
            output: output.or(file.output),
            format: format.over(file.format),
            currency: currency.or(file.currency),
            no_color: no_color || file.no_color,
            config,
        }
    }
}

/// Returns the default settings file of a program, if it exists.
pub(crate) fn default_settings_file(program: &str) -> Option<PathBuf> {
    files::config_folder().map(|folder| folder.join(format!("{program}.toml"))).filter(|path| path.exists())
}

/// Prints how long a call took. The request id comes from the market, so it is escaped for the terminal.
fn print_timing(call: &CallTiming) {
    errln!("timing: {}", plain(&call.to_string()));
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        assert!(client.credentials.cert.ends_with("file.pem"));
        assert_eq!(client.timeout, Duration::from_secs(3));
        assert_eq!(resolved.output, Output::Json);
        assert!(client.timings.is_none());
        let default = with_file("cert = \"c.pem\"", CommonFlags::default()).unwrap().client.unwrap();
        assert_eq!(default.market.to_string(), "localhost:7443");
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
    fn every_flag_can_be_set_in_the_file() {
        let text = "market = \"a:1\"\ncert = \"/c\"\nkey = \"/k\"\nca = \"/a\"\ncrl = \"/r\"\nlisten = \"127.0.0.1:1\"\n\
                    advertise = \"a:2\"\nconsumer = \"c\"\ntimeout = \"3s\"\ntimings = true\noutput = \"csv\"\n\
                    currency = \"GBP\"\nno-color = true\ntime = \"utc\"\nfields = [\"order_id\"]\njq = \".\"";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seller.toml");
        fs::write(&path, text).unwrap();
        let file: CommonFlags = settings::read(&path).unwrap();
        let expected = CommonFlags { given: file.given.clone().of(Origin::File), ..file.clone() };
        assert_eq!(format!("{:?}", CommonFlags::default().over(file)), format!("{expected:?}"));
        // And each of them has a value there.
        let keys = text.lines().count();
        let flags = CommonFlags::augment_args(clap::Command::new("")).get_arguments().count();
        assert_eq!(keys, flags - 3, "all but --config, --context, and --template, which excludes --jq");
    }

    #[test]
    fn paths_of_flags_may_begin_with_a_tilde() {
        let Some(home) = std::env::var_os("HOME").filter(|home| !home.is_empty()) else { return };
        let alice = CommonFlags {
            cert: Some("~/alice.pem".into()),
            ca: Some("~/ca.pem".into()),
            ..CommonFlags::default()
        };
        let resolved = with_file("", alice).unwrap().client.unwrap();
        assert_eq!(resolved.credentials.cert, PathBuf::from(&home).join("alice.pem"));
        assert_eq!(resolved.credentials.ca, Some(PathBuf::from(&home).join("ca.pem")));
    }
}
