//! What a search may ask for: values that were checked once, where they came in.

use souk_domain::{Invalid, Money};

/// Words to search for. Empty, it leaves nothing out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchText(String);

impl SearchText {
    /// The longest text, in characters (Unicode scalar values).
    pub const MAX_CHARS: usize = 500;

    /// Takes a text over, or says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > Self::MAX_CHARS && text.chars().count() > Self::MAX_CHARS {
            let max = Self::MAX_CHARS;
            return Err(Invalid::new(format!("is longer than {max} characters; use fewer words")));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A range of prices in one currency, its ends included; without an end, any price is good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PriceRange {
    min: Option<Money>,
    max: Option<Money>,
}

impl PriceRange {
    /// Takes the ends over, or says what is wrong with the upper one.
    pub fn parse(min: Option<Money>, max: Option<Money>) -> Result<Self, Invalid> {
        match (min, max) {
            (Some(min), Some(max)) if min.currency_code() != max.currency_code() => {
                Err(Invalid::new("has another currency than min_price; use one for both"))
            }
            (Some(min), Some(max)) if min.amount_minor() > max.amount_minor() => {
                Err(Invalid::new("is lower than min_price; swap them"))
            }
            _ => Ok(Self { min, max }),
        }
    }

    /// Returns any end, for the currency; `None` for a range without ends.
    pub(super) fn any_end(&self) -> Option<Money> {
        self.min.or(self.max)
    }

    /// Returns the lower end.
    pub(super) fn min(&self) -> Option<Money> {
        self.min
    }

    /// Returns the upper end.
    pub(super) fn max(&self) -> Option<Money> {
        self.max
    }
}
