//! The addresses of a market, written `host:port,host:port`.

use std::{fmt, net::SocketAddr, str::FromStr};

use souk_certs::connector::{Dial, DialAddressError};

/// The maximum number of addresses of one market.
pub const MAX_ADDRESSES: usize = 16;

/// The addresses of a market, each of which serves all of its accounts, items and orders. There is at least
/// one and at most [`MAX_ADDRESSES`], without duplicates. Written `host:port,host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarketAddresses(Vec<Dial>);

impl MarketAddresses {
    /// Reads addresses, each of which may be several with commas between them.
    ///
    /// # Errors
    /// One is malformed, there is none, or there are too many different ones.
    pub fn parse(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, AddressesError> {
        let mut addresses = Vec::new();
        for text in texts {
            for address in text.as_ref().split(',') {
                let address = address.trim().parse()?;
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
                if addresses.len() > MAX_ADDRESSES {
                    return Err(AddressesError::TooMany);
                }
            }
        }
        if addresses.is_empty() {
            return Err(AddressesError::None);
        }
        Ok(Self(addresses))
    }

    /// Returns the addresses in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Dial> {
        self.0.iter()
    }

    /// Returns the number of addresses, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the address if there is only one.
    pub fn only(&self) -> Option<&Dial> {
        match self.0.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Returns the address that was given first.
    pub fn first(&self) -> &Dial {
        // There is always one.
        &self.0[0]
    }

    /// Returns the addresses as one text, which does not depend on the order in which they were given.
    pub(crate) fn sorted(&self) -> String {
        let mut texts: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        texts.sort_unstable();
        texts.join(",")
    }
}

impl From<Dial> for MarketAddresses {
    fn from(only: Dial) -> Self {
        Self(vec![only])
    }
}

impl From<SocketAddr> for MarketAddresses {
    fn from(only: SocketAddr) -> Self {
        Dial::from(only).into()
    }
}

impl FromStr for MarketAddresses {
    type Err = AddressesError;

    fn from_str(text: &str) -> Result<Self, AddressesError> {
        Self::parse([text])
    }
}

impl TryFrom<&str> for MarketAddresses {
    type Error = AddressesError;

    fn try_from(text: &str) -> Result<Self, AddressesError> {
        text.parse()
    }
}

impl TryFrom<String> for MarketAddresses {
    type Error = AddressesError;

    fn try_from(text: String) -> Result<Self, AddressesError> {
        text.parse()
    }
}

impl TryFrom<&String> for MarketAddresses {
    type Error = AddressesError;

    fn try_from(text: &String) -> Result<Self, AddressesError> {
        text.parse()
    }
}

impl fmt::Display for MarketAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, address) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            write!(f, "{address}")?;
        }
        Ok(())
    }
}

/// The market's addresses are malformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressesError {
    /// One of the addresses is malformed.
    #[error(transparent)]
    Malformed(#[from] DialAddressError),
    /// There is no address at all.
    #[error("there is no address of the market; write HOST:PORT, such as market.example.org:7443")]
    None,
    /// There are more than [`MAX_ADDRESSES`].
    #[error("more than {MAX_ADDRESSES} addresses of the market; leave some of them out")]
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_both_ways_and_each_is_kept_once() {
        let both = MarketAddresses::parse(["a:1,b:2", " a:1 , [::1]:3"]).expect("addresses");
        assert_eq!(both.to_string(), "a:1,b:2,[::1]:3");
        assert_eq!(both.to_string().parse(), Ok(both.clone()));
        assert_eq!((both.len(), both.only(), both.first().to_string()), (3, None, "a:1".to_owned()));
        let single: MarketAddresses = "a:1,a:1".parse().expect("an address");
        assert_eq!(single.only().map(ToString::to_string).as_deref(), Some("a:1"));
        assert_eq!(
            "b:2,a:1".parse().map(|a: MarketAddresses| a.sorted()),
            "a:1,b:2".parse().map(|a: MarketAddresses| a.sorted())
        );
    }

    #[test]
    fn the_malformed_address_is_named_and_the_number_bounded() {
        let error = "a:1,nowhere,b:2".parse::<MarketAddresses>().expect_err("malformed");
        assert!(error.to_string().contains("'nowhere'"), "{error}");
        for text in ["", ",", "a:1,", ",a:1"] {
            assert!(text.parse::<MarketAddresses>().is_err(), "{text}");
        }
        let many = |count: usize| MarketAddresses::parse((1..=count).map(|port| format!("a:{port}")));
        assert_eq!(many(MAX_ADDRESSES).map(|addresses| addresses.len()), Ok(MAX_ADDRESSES));
        assert_eq!(many(MAX_ADDRESSES + 1), Err(AddressesError::TooMany));
        assert_eq!(many(0), Err(AddressesError::None));
    }
}
