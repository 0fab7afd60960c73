//! Search criteria, which are validated once, when they are parsed.

use souk_domain::{Invalid, Money};

/// Words to search for. An empty text matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchText(String);

impl SearchText {
    /// The maximum length of the text, in characters (Unicode scalar values).
    pub const MAX_CHARS: usize = 500;

    /// Validates a text, or returns what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > Self::MAX_CHARS && text.chars().count() > Self::MAX_CHARS {
            let max = Self::MAX_CHARS;
            return Err(Invalid::new(format!("is longer than {max} characters; use fewer words")));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the text as it was typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A range of prices in one currency, including its ends. A range without ends contains every price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PriceRange {
    min: Option<Money>,
    max: Option<Money>,
}

impl PriceRange {
    /// Validates the ends, or returns what is wrong with the upper one.
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

    /// Returns whether a price lies within the range. One in another currency does not.
    pub(super) fn contains(&self, price: Money) -> bool {
        self.any_end().is_none_or(|end| end.currency_code() == price.currency_code())
            && self.min.is_none_or(|min| min.amount_minor() <= price.amount_minor())
            && self.max.is_none_or(|max| price.amount_minor() <= max.amount_minor())
    }

    /// Returns either end, for its currency; `None` for a range without ends.
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
