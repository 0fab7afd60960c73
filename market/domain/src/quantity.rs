//! Quantities of an item: its stock, and the units of an order.

use super::Invalid;

/// An item's stock in units: 0 to 10⁹.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(i64);

impl Quantity {
    /// The largest stock that a seller can set. Cancelled orders may take the stock above it.
    pub const MAX: i64 = 1_000_000_000;

    /// Parses a stock of 0 to [`Self::MAX`] units.
    pub fn parse(units: i64) -> Result<Self, Invalid> {
        match units {
            0..=Self::MAX => Ok(Self(units)),
            _ => Err(Invalid::new(format!("is {units}; a stock is 0 to {}", Self::MAX))),
        }
    }

    /// Parses the stock of a new listing, which is at least one unit.
    pub fn parse_listing(units: i64) -> Result<Self, Invalid> {
        match units {
            1..=Self::MAX => Ok(Self(units)),
            _ => Err(Invalid::new(format!("is {units}; list 1 to {} units", Self::MAX))),
        }
    }

    /// Returns the stock in units, 0 to [`Self::MAX`].
    pub fn units(self) -> i64 {
        self.0
    }
}

/// The units of one order line: 1 to 10⁶.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderQuantity(i64);

impl OrderQuantity {
    /// The largest number of units in one order.
    pub const MAX: i64 = 1_000_000;

    /// Parses a number of units to buy, 1 to [`Self::MAX`].
    pub fn parse(units: i64) -> Result<Self, Invalid> {
        match units {
            1..=Self::MAX => Ok(Self(units)),
            _ => Err(Invalid::new(format!("is {units}; buy 1 to {} units", Self::MAX))),
        }
    }

    /// Returns the number of units, 1 to [`Self::MAX`].
    pub fn units(self) -> i64 {
        self.0
    }
}
