//! The settings with which a client calls a market. Pure data: the command lines decide where the values come
//! from (flags, environment, file).

mod addresses;

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

use souk_certs::{clock::Clock, credentials::CredentialFiles, identity::TrustDomain, random::Random};
use souk_proto::v1;

pub use addresses::{AddressesError, MAX_ADDRESSES, MarketAddresses};

use crate::Timings;

/// The default deadline of a call, including retries and back-off.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The minimum deadline of a call.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(100);

/// The maximum deadline of a call.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(3_600);

/// The maximum length of a host name (RFC 1035, section 2.3.4).
const MAX_HOST_LENGTH: usize = 253;

/// The settings of one party at one market.
///
/// # Examples
/// ```no_run
/// use std::time::Duration;
///
/// use souk_client::{ClientConfig, Connection, CredentialFiles};
///
/// # async fn example() -> Result<(), souk_client::Error> {
/// let config = ClientConfig {
///     timeout: Duration::from_secs(3),
///     ..ClientConfig::new("localhost:7443".parse()?, CredentialFiles::beside("bob.pem"))
/// };
/// let connection = Connection::open(&config).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Where the market listens. With several addresses, calls are spread over them, and fail over to the
    /// others when one fails.
    pub market: MarketAddresses,
    /// The paths of the certificate, key, authority and revocation list.
    pub credentials: CredentialFiles,
    /// The trust domain that all identities belong to.
    pub trust_domain: TrustDomain,
    /// The deadline of a call including all of its retries, [`MIN_TIMEOUT`] to [`MAX_TIMEOUT`].
    pub timeout: Duration,
    /// Where to open the callback server. `None` means that events arrive by Subscribe only.
    pub listen: Option<SocketAddr>,
    /// The callback address to register. `None` means the IP address from which the market sees the client
    /// connect, and the port of `listen`.
    pub advertise: Option<CallbackAddress>,
    /// Receives how long calls take; `None` disables the timing.
    pub timings: Option<Timings>,
    /// The clock by which certificates are judged and request ids are made; by default the system's.
    pub clock: Clock,
    /// The source of request ids and of the jitter of waits; by default the system's.
    pub random: Random,
}

impl ClientConfig {
    /// Creates settings for this market and these files, with defaults for everything else.
    pub fn new(market: MarketAddresses, credentials: CredentialFiles) -> Self {
        Self {
            market,
            credentials,
            trust_domain: TrustDomain::default(),
            timeout: DEFAULT_TIMEOUT,
            listen: None,
            advertise: None,
            timings: None,
            clock: Clock::SYSTEM,
            random: Random::SYSTEM,
        }
    }

    /// Returns the callback address to register when the callback server is bound to `bound`.
    pub fn callback(&self, bound: SocketAddr) -> v1::CallbackAddress {
        match &self.advertise {
            Some(address) => address.to_proto(),
            None => v1::CallbackAddress { host: String::new(), port: u32::from(bound.port()) },
        }
    }
}

/// Parses a timeout such as `500ms`, `10s`, `2m` or plain seconds.
///
/// # Errors
/// The text has another format, or the timeout is not within [`MIN_TIMEOUT`] and [`MAX_TIMEOUT`].
pub fn parse_timeout(text: &str) -> Result<Duration, ConfigError> {
    let malformed = || ConfigError::TimeoutMalformed(text.to_owned());
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| malformed())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        _ => return Err(malformed()),
    };
    check_timeout(Duration::from_millis(milliseconds.ok_or_else(malformed)?))
}

/// Returns the timeout if it is within bounds.
///
/// # Errors
/// It is not within [`MIN_TIMEOUT`] and [`MAX_TIMEOUT`].
pub fn check_timeout(timeout: Duration) -> Result<Duration, ConfigError> {
    if (MIN_TIMEOUT..=MAX_TIMEOUT).contains(&timeout) {
        Ok(timeout)
    } else {
        Err(ConfigError::TimeoutOutOfBounds(timeout))
    }
}

/// Where the market is to call back: an IP address or a DNS name, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackAddress {
    host: String,
    port: u16,
}

impl CallbackAddress {
    /// Returns the IP address, IPv6 without brackets, or the DNS name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the TCP port, at least 1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Converts the address to its message.
    pub fn to_proto(&self) -> v1::CallbackAddress {
        v1::CallbackAddress { host: self.host.clone(), port: u32::from(self.port) }
    }
}

impl FromStr for CallbackAddress {
    type Err = ConfigError;

    /// Parses `host:port`, with an IPv6 address in brackets.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let malformed = || ConfigError::CallbackMalformed(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(malformed)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().map_err(|_| malformed())?.to_string(),
            None if is_host_name(host) => host.to_owned(),
            None => return Err(malformed()),
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for CallbackAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A value of the configuration is not usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The text is not a valid duration.
    #[error("`{0}` is not a time: write it like 500ms, 10s or 2m")]
    TimeoutMalformed(String),
    /// The time is too short or too long.
    #[error("a timeout of {0:?} is out of bounds: choose between {MIN_TIMEOUT:?} and {MAX_TIMEOUT:?}")]
    TimeoutOutOfBounds(Duration),
    /// The text is not a valid callback address.
    #[error(
        "`{0}` is not a callback address: write it like 192.0.2.7:7443, [2001:db8::7]:7443 or host.example:7443"
    )]
    CallbackMalformed(String),
}

fn is_host_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !text.is_empty() && text.len() <= MAX_HOST_LENGTH && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_with_their_units_and_bounds() {
        assert_eq!(parse_timeout("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_timeout("10"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_timeout("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_timeout("2m"), Ok(Duration::from_secs(120)));
        for malformed in
            ["", "s", "-1s", "1.5s", "10 s", "1h", "99999999999999999999s", "999999999999999999m"]
        {
            assert!(matches!(parse_timeout(malformed), Err(ConfigError::TimeoutMalformed(_))), "{malformed}");
        }
        for wild in ["0", "99ms", "3601s", "61m"] {
            assert!(matches!(parse_timeout(wild), Err(ConfigError::TimeoutOutOfBounds(_))), "{wild}");
        }
    }

    #[test]
    fn callback_addresses_are_read_and_written_alike() {
        for text in ["192.0.2.7:7443", "[2001:db8::7]:7443", "alice.example:1"] {
            assert_eq!(text.parse::<CallbackAddress>().expect(text).to_string(), text);
        }
        for text in
            ["", ":7443", "alice.example", "alice.example:0", "a b:1", "::1:7443", "[alice]:1", "x:65536"]
        {
            assert!(text.parse::<CallbackAddress>().is_err(), "{text}");
        }
    }
}
