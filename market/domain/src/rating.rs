//! Star ratings, and their summary per item.

use serde::{Deserialize, Serialize};

use super::Invalid;

/// One buyer's rating of an item: 1 to 5 stars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stars(u8);

impl Stars {
    /// Parses a rating of 1 to 5 stars.
    pub fn parse(stars: i32) -> Result<Self, Invalid> {
        u8::try_from(stars)
            .ok()
            .filter(|stars| (1..=5).contains(stars))
            .map(Self)
            .ok_or_else(|| Invalid::new(format!("is {stars}; give 1 to 5 stars")))
    }

    /// Returns the number of stars, 1 to 5.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// The ratings of one item, summarised. An item without ratings has no mean, rather than a mean of 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatingSummary {
    /// The number of buyers who have rated the item.
    pub count: i64,
    /// The sum of all stars. Kept instead of the mean, so that replacing a rating is exact.
    pub total_stars: i64,
}

impl RatingSummary {
    /// Returns the arithmetic mean, 1.0 to 5.0; `None` if there are no ratings.
    pub fn mean(self) -> Option<f64> {
        (self.count > 0).then(|| self.total_stars as f64 / self.count as f64)
    }

    /// Returns the summary without a rating that is one of those summarised.
    pub fn without(self, stars: Stars) -> Self {
        Self { count: self.count - 1, total_stars: self.total_stars - i64::from(stars.get()) }
    }

    /// Returns the summary with one rating added, or with the same buyer's `earlier` rating replaced.
    pub fn with(self, stars: Stars, earlier: Option<Stars>) -> Self {
        let earlier_stars = earlier.map_or(0, |earlier| i64::from(earlier.get()));
        Self {
            count: self.count + i64::from(earlier.is_none()),
            total_stars: self.total_stars + i64::from(stars.get()) - earlier_stars,
        }
    }
}
