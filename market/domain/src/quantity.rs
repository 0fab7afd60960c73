//! Numbers of units.

use super::Invalid;

/// How many units of an item there are: 0 to 10⁹.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(i64);

impl Quantity {
    /// The most units of one item.
    pub const MAX: i64 = 1_000_000_000;

    /// A stock of 0 to [`Self::MAX`] units.
    pub fn parse(units: i64) -> Result<Self, Invalid> {
        match units {
            0..=Self::MAX => Ok(Self(units)),
            _ => Err(Invalid::new(format!("is {units}; a stock is 0 to {}", Self::MAX))),
        }
    }

    /// A stock of at least one unit, as a new item has.
    pub fn parse_listing(units: i64) -> Result<Self, Invalid> {
        match units {
            1..=Self::MAX => Ok(Self(units)),
            _ => Err(Invalid::new(format!("is {units}; list 1 to {} units", Self::MAX))),
        }
    }

    /// The number of units.
    pub fn units(self) -> i64 {
        self.0
    }
}

/// How many units an order is for: 1 to 10⁶.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderQuantity(i64);

impl OrderQuantity {
    /// The most units of one order.
    pub const MAX: i64 = 1_000_000;

    /// A number of units to buy.
    pub fn parse(units: i64) -> Result<Self, Invalid> {
        match units {
            1..=Self::MAX => Ok(Self(units)),
            _ => Err(Invalid::new(format!("is {units}; buy 1 to {} units", Self::MAX))),
        }
    }

    /// The number of units.
    pub fn units(self) -> i64 {
        self.0
    }
}
