//! Exact money: whole minor units of an ISO 4217 currency.

use std::fmt;

use iso_currency::Currency;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A price or a total: zero or more minor units of one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    amount_minor: i64,
    currency: Currency,
}

/// Why an amount was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The amount is below zero.
    #[error("is negative; a price is 0 or more")]
    Negative,
    /// The amount is above [`Money::MAX_PRICE_MINOR`].
    #[error("is more than {} minor units; use a lower price", Money::MAX_PRICE_MINOR)]
    TooLarge,
    /// The currency code is not in ISO 4217.
    #[error("has an unknown currency code; use one of ISO 4217 in capitals, such as GBP")]
    UnknownCurrency,
}

impl Money {
    /// The highest price of one unit, in minor units.
    ///
    /// Times [`OrderQuantity::MAX`](super::OrderQuantity::MAX) it exceeds `i64`, so totals are checked.
    pub const MAX_PRICE_MINOR: i64 = 1_000_000_000_000_000;

    /// Parses the price of one unit: 0 to [`Self::MAX_PRICE_MINOR`] minor units.
    pub fn price(amount_minor: i64, currency_code: &str) -> Result<Self, MoneyError> {
        if amount_minor < 0 {
            return Err(MoneyError::Negative);
        }
        if amount_minor > Self::MAX_PRICE_MINOR {
            return Err(MoneyError::TooLarge);
        }
        Self::stored(amount_minor, currency_code)
    }

    /// Rebuilds an amount that was accepted before, such as one read from the store. It may be a total, which
    /// is larger than any price.
    ///
    /// # Errors
    ///
    /// Fails with [`MoneyError::UnknownCurrency`] only.
    pub fn stored(amount_minor: i64, currency_code: &str) -> Result<Self, MoneyError> {
        let currency = Currency::from_code(currency_code).ok_or(MoneyError::UnknownCurrency)?;
        Ok(Self { amount_minor, currency })
    }

    /// Returns whether the amount is higher than another; `false` if the currencies differ.
    pub fn is_above(self, other: Self) -> bool {
        self.currency_code() == other.currency_code() && self.amount_minor() > other.amount_minor()
    }

    /// Returns this price times a number of units; `None` on overflow of 2⁶³−1 minor units.
    pub fn times(self, units: i64) -> Option<Self> {
        let amount_minor = self.amount_minor.checked_mul(units)?;
        Some(Self { amount_minor, ..self })
    }

    /// Returns the amount in minor units.
    pub fn amount_minor(self) -> i64 {
        self.amount_minor
    }

    /// Returns the currency's three-letter code.
    pub fn currency_code(self) -> &'static str {
        self.currency.code()
    }
}

impl fmt::Display for Money {
    /// Formats the amount with the currency's number of decimals: `12.50 GBP`, `1200 JPY`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = usize::from(self.currency.exponent().unwrap_or(0));
        let digits = format!("{:0>width$}", self.amount_minor, width = decimals + 1);
        let (whole, part) = digits.split_at(digits.len() - decimals);
        let point = if decimals == 0 { "" } else { "." };
        write!(f, "{whole}{point}{part} {}", self.currency_code())
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.amount_minor, self.currency_code()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (amount_minor, code) = <(i64, String)>::deserialize(deserializer)?;
        Self::stored(amount_minor, &code).map_err(de::Error::custom)
    }
}
