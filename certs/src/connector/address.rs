//! Addresses to dial, written `HOST:PORT`.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use thiserror::Error;

/// Maximum length of a host name in bytes (RFC 1035 §2.3.4).
const MAX_HOST: usize = 253;

/// A host, as a name or an IP address without brackets, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dial {
    /// A DNS name, an IPv4 address or an IPv6 address.
    pub host: String,
    /// The TCP port, not zero.
    pub port: u16,
}

impl fmt::Display for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Dial {
    type Err = DialAddressError;

    /// Parses `host:port`, `192.0.2.1:port` or `[2001:db8::1]:port`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || DialAddressError {
            text: text.chars().take(MAX_HOST).flat_map(char::escape_default).collect(),
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port != 0).ok_or_else(refused)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().map(|_| address).map_err(|_| refused())?,
            None if is_host(host) => host,
            None => return Err(refused()),
        };
        Ok(Dial { host: host.to_owned(), port })
    }
}

impl From<std::net::SocketAddr> for Dial {
    fn from(address: std::net::SocketAddr) -> Self {
        Dial { host: address.ip().to_string(), port: address.port() }
    }
}

/// The text is not of the form `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("'{text}' is not an address; write HOST:PORT, such as market.example.org:7443 or [::1]:7443")]
pub struct DialAddressError {
    /// The rejected text, escaped and truncated to the length of a host name.
    pub text: String,
}

/// Returns whether the text could be a host name or an IPv4 address. Underscores, which DNS forbids in host
/// names, are allowed because container names use them.
fn is_host(text: &str) -> bool {
    (1..=MAX_HOST).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_read_and_written_back() {
        for text in
            ["localhost:1", "market.example.org:7443", "192.0.2.1:65535", "[::1]:7443", "[2001:db8::1]:80"]
        {
            assert_eq!(text.parse::<Dial>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            ":",
            "localhost",
            "localhost:",
            ":80",
            "localhost:0",
            "localhost:65536",
            "localhost:+80",
            "localhost:-1",
            "::1:80",
            "[::1]",
            "[]:80",
            "[::1:80",
            "http://localhost:80",
            "a b:80",
            "a/b:80",
            "a@b:80",
            "[localhost]:80",
        ] {
            assert!(text.parse::<Dial>().is_err(), "accepted {text:?}");
        }
    }
}
