//! Ratings.

use serde::{Deserialize, Serialize};

use super::Invalid;

/// What one buyer thinks of an item: 1 to 5 stars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stars(u8);

impl Stars {
    /// Takes a number of stars over.
    pub fn parse(stars: i32) -> Result<Self, Invalid> {
        u8::try_from(stars)
            .ok()
            .filter(|stars| (1..=5).contains(stars))
            .map(Self)
            .ok_or_else(|| Invalid::new(format!("is {stars}; give 1 to 5 stars")))
    }

    /// The number of stars.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// All ratings of one item taken together. No ratings at all is not the same as a mean of 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatingSummary {
    /// How many buyers have rated.
    pub count: i64,
    /// The sum of their stars.
    pub total_stars: i64,
}

impl RatingSummary {
    /// The arithmetic mean, 1.0 to 5.0; `None` while nobody has rated.
    pub fn mean(self) -> Option<f64> {
        (self.count > 0).then(|| self.total_stars as f64 / self.count as f64)
    }

    /// With one more rating, or with a buyer's earlier one replaced.
    pub fn with(self, stars: Stars, earlier: Option<Stars>) -> Self {
        let earlier_stars = earlier.map_or(0, |earlier| i64::from(earlier.get()));
        Self {
            count: self.count + i64::from(earlier.is_none()),
            total_stars: self.total_stars + i64::from(stars.get()) - earlier_stars,
        }
    }
}
