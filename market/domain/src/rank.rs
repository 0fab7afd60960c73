//! The rank class: how good an item is, by its ratings and recent sales. Of two items that match a search equally well, the
//! one with the higher class comes first.
//!
//! A class is stored with the item. It changes with a rating, or by a daily sweep over the sums of sales, and a change
//! moves the item in the feed. So all markets on a store rank alike, and none computes classes of its own.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::RatingSummary;

/// How much of an item was sold recently, in steps of a quarter of a doubling: level 1 is one unit, level 5 two units, level
/// 9 four. Level 0 is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SalesLevel(u8);

impl SalesLevel {
    /// The highest level: 1,723 units or more.
    pub const MAX: Self = Self(44);
    /// The number of days whose sales count.
    pub const DAYS: i64 = 90;

    /// Returns the level of a number of units sold.
    pub fn of(units: i64) -> Self {
        /// More units than the highest level needs, and few enough for their fourth power.
        const ENOUGH: u128 = 1 << 20;
        let units = u128::try_from(units).unwrap_or(0).min(ENOUGH);
        // ⌊4·log₂(units)⌋ in whole numbers: the mathematical functions of different machines differ in the last bit.
        let quarters = units.pow(4).checked_ilog2();
        Self(quarters.map_or(0, |quarters| small(quarters + 1).min(Self::MAX.0)))
    }

    /// Returns a level as read from a store.
    pub fn stored(level: u8) -> Self {
        Self(level).min(Self::MAX)
    }

    /// Returns the level as a number, 0 to 44.
    pub fn get(self) -> u8 {
        self.0
    }

    /// Returns the days whose sales count on a day: the whole days before it, as numbers of days since 1970-01-01 (UTC).
    pub fn days_before(day: i64) -> Range<i64> {
        day.saturating_sub(Self::DAYS)..day
    }
}

/// The rank class of an item, 0 (worst) to 63.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RankClass(u8);

impl RankClass {
    /// The number of classes.
    pub const COUNT: usize = 64;
    /// The ratings that every item begins with. Fixed rather than the mean of all items, so that a class depends on
    /// nothing but the item.
    const PRIOR_RATINGS: i128 = 8;
    /// The mean of these, in tenths of a star.
    const PRIOR_TENTHS: i128 = 38;

    /// Returns the class of an item: the Bayesian mean of its ratings plus the binary logarithm of the units sold recently,
    /// in quarters. Without sales, half of the mean.
    pub fn of(rating: RatingSummary, sales: SalesLevel) -> Self {
        let RatingSummary { count, total_stars } = rating;
        let (count, stars) = (i128::from(count.max(0)), i128::from(total_stars.max(0)));
        let tenths = Self::PRIOR_RATINGS * Self::PRIOR_TENTHS + 10 * stars;
        // At most 20, for 5 stars.
        let quarters = (4 * tenths / (10 * (Self::PRIOR_RATINGS + count))).min(20);
        let quarters = u8::try_from(quarters).unwrap_or(0);
        Self(match sales.0.checked_sub(1) {
            None => quarters / 2,
            Some(doublings) => quarters + doublings,
        })
    }

    /// Returns a class as read from a store.
    pub fn stored(class: u8) -> Self {
        Self(class.min(small(Self::COUNT as u32) - 1))
    }

    /// Returns the class as a number, less than [`Self::COUNT`].
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Default for RankClass {
    /// The class of an item without ratings and sales.
    fn default() -> Self {
        Self::of(RatingSummary::default(), SalesLevel::default())
    }
}

/// Converts a number that is known to be small.
fn small(number: u32) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn class(count: i64, total_stars: i64, units: i64) -> u8 {
        RankClass::of(RatingSummary { count, total_stars }, SalesLevel::of(units)).get()
    }

    #[test]
    fn sales_count_by_their_logarithm() {
        let levels = [-1, 0, 1, 2, 3, 4, 8, 16, 1_722, 1_723, 1_000_000, i64::MAX];
        let levels = levels.map(|units| SalesLevel::of(units).get());
        assert_eq!(levels, [0, 0, 1, 5, 7, 9, 13, 17, 43, 44, 44, 44]);
        assert_eq!(SalesLevel::days_before(100), 10..100);
    }

    #[test]
    fn class_is_the_bayesian_mean_plus_the_logarithm_of_the_sales_in_quarters() {
        // 3.8 stars; halved without sales.
        assert_eq!([class(0, 0, 0), class(0, 0, 1), class(0, 0, 2), class(0, 0, 1_024)], [7, 15, 19, 55]);
        assert_eq!(RankClass::default().get(), 7);
        // (8 × 3.8 + 8 × 5) / 16 = 4.4 stars; (8 × 3.8 + 1) / 9 = 3.49 stars.
        assert_eq!([class(8, 40, 1), class(1, 1, 1)], [17, 13]);
        // One rating moves it little, many decide.
        assert_eq!([class(1, 5, 1), class(1_000, 5_000, 1), class(1_000, 1_000, 1)], [15, 19, 4]);
        assert_eq!(class(i64::MAX, i64::MAX, i64::MAX), 4 + 43);
        assert_eq!(RankClass::stored(200).get(), 63);
    }

    proptest! {
        #[test]
        fn better_ratings_and_more_sales_never_lower_the_class(
            (count, units, more) in (0..10_000_i64, 0..100_000_i64, 0..100_000_i64),
            (stars, better) in (1.0..=5.0, 1.0..=5.0),
        ) {
            let total = |mean: f64| (mean * count as f64) as i64;
            let (low, high) = (f64::min(stars, better), f64::max(stars, better));
            prop_assert!(class(count, total(low), units) <= class(count, total(high), units));
            prop_assert!(class(count, total(low), units) <= class(count, total(low), units + more));
            prop_assert!(usize::from(class(count, total(high), units)) < RankClass::COUNT);
        }

        /// So a changed level is always a change of the class, which moves the item in the feed.
        #[test]
        fn each_level_gives_another_class(count in 0..1_000_i64, mean in 1..=5_i64, units in (0..3_000_i64, 0..3_000_i64)) {
            let levels = (SalesLevel::of(units.0), SalesLevel::of(units.1));
            let rating = RatingSummary { count, total_stars: count * mean };
            let classes = (RankClass::of(rating, levels.0), RankClass::of(rating, levels.1));
            prop_assert_eq!(levels.0 == levels.1, classes.0 == classes.1);
        }
    }
}
