//! Flags that say where the enrolment service and the markets are reached.

use std::net::Ipv6Addr;
use std::str::FromStr;

use souk_certs::connector::{Dial, DialAddressError};

use crate::pki::PORT;

/// An address whose port may be left out.
#[derive(Clone, Debug)]
pub(super) struct Public(pub(super) Dial);

impl FromStr for Public {
    type Err = DialAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let with_port = || match text.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]:{PORT}"),
            Err(_) => format!("{text}:{PORT}"),
        };
        // A text with a port has no valid form with another one, and the other way round.
        text.parse().or_else(|error| with_port().parse().map_err(|_: DialAddressError| error)).map(Public)
    }
}

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Markets {
    /// Where newcomers reach a market; may be repeated, for several markets on one database
    #[arg(long = "market", value_name = "HOST:PORT")]
    markets: Vec<Dial>,
}

impl Markets {
    pub(super) fn addresses(&self) -> Vec<Dial> {
        self.markets.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_may_be_left_out() {
        for (text, expected) in [
            ("ca.example.org", "ca.example.org:7442"),
            ("ca.example.org:1", "ca.example.org:1"),
            ("192.0.2.1", "192.0.2.1:7442"),
            ("2001:db8::1", "[2001:db8::1]:7442"),
            ("[2001:db8::1]", "[2001:db8::1]:7442"),
            ("[2001:db8::1]:1", "[2001:db8::1]:1"),
        ] {
            assert_eq!(text.parse::<Public>().unwrap().0.to_string(), expected);
        }
        for text in ["", "a b", "ca.example.org:", "ca.example.org:0", "ca.example.org:99999", "http://ca"] {
            assert!(text.parse::<Public>().is_err(), "accepted {text:?}");
        }
    }
}
