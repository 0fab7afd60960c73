//! The live states of items: what searches filter and sort by and changes often.
//!
//! A purchase that sells an item out and a rating change what searches find, and must not index the item again. So each
//! document says what the state of its item was when it was indexed, and
//! [`Segment::with_states`](super::segment::Segment::with_states) notes what has become of it since.

use souk_domain::Item;

use super::rank::Standing;

/// The live state of an item in 38 bits: its standing, then its mean rating in single precision, whose sign is not
/// needed. An item that is unrated has a mean of 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State(u64);

/// How many bits a mean takes.
const MEAN_BITS: u32 = u32::BITS - 1;
const _: () = assert!(Standing::BITS + MEAN_BITS <= 38, "each document has a state");

impl State {
    pub(super) fn of(item: &Item) -> Self {
        let mean = item.rating.mean().map_or(0, mean_bits);
        Self(Standing::of(item).0 << MEAN_BITS | u64::from(mean))
    }

    /// Returns the state as it is stored in a column.
    pub(super) fn to_column(self) -> u64 {
        self.0
    }

    pub(super) fn from_column(value: u64) -> Self {
        Self(value)
    }

    pub(super) fn standing(self) -> Standing {
        Standing(self.0 >> MEAN_BITS)
    }

    pub(super) fn is_in_stock(self) -> bool {
        self.standing().is_in_stock()
    }

    /// Returns a number that grows with the mean rating. It is 0 for unrated items.
    pub(super) fn rating(self) -> u32 {
        (self.0 & ((1 << MEAN_BITS) - 1)) as u32
    }
}

/// Returns the bits of a mean. Those of non-negative floats sort like the floats (IEEE 754, totalOrder).
fn mean_bits(mean: f64) -> u32 {
    (mean as f32).to_bits()
}

/// The lowest possible mean, one star.
const LOWEST_MEAN: f64 = 1.0;

/// The conditions of a query that live states decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct StateFilter {
    pub(super) in_stock: bool,
    /// As of [`State::rating`]; 0 if all ratings will do.
    pub(super) least_rating: u32,
}

impl StateFilter {
    /// Admits items in stock, or all, and those whose mean rating is at least `min_rating`, in single precision. Without
    /// a minimum, unrated items too.
    pub(super) fn new(in_stock: bool, min_rating: Option<f64>) -> Self {
        let least_rating = min_rating.map_or(0, |least| mean_bits(least.max(LOWEST_MEAN)));
        Self { in_stock, least_rating }
    }

    pub(super) fn admits_all(self) -> bool {
        self == Self::default()
    }

    pub(super) fn admits(self, state: State) -> bool {
        state.rating() >= self.least_rating && (!self.in_stock || state.is_in_stock())
    }
}

#[cfg(test)]
mod tests {
    use souk_domain::RatingSummary;

    use super::*;
    use crate::tests::item;

    fn state(quantity: i64, count: i64, total_stars: i64) -> State {
        State::of(&Item { quantity, rating: RatingSummary { count, total_stars }, ..item(1, "Lamp") })
    }

    #[test]
    fn filters_compare_means_as_they_are() {
        let rated = |least| StateFilter::new(false, Some(least));
        for (count, total) in [(10, 41), (10, 43), (3, 10), (7, 23), (1_000, 4_299)] {
            let mean = total as f64 / count as f64;
            assert!(rated(mean).admits(state(1, count, total)), "{mean}");
            assert!(!rated(mean + 0.001).admits(state(1, count, total)), "{mean}");
        }
        assert!(!rated(0.0).admits(state(1, 0, 0)), "unrated");
        assert!(rated(0.0).admits(state(0, 1, 1)));
        let in_stock = StateFilter::new(true, None);
        assert!(in_stock.admits(state(2, 0, 0)) && !in_stock.admits(state(0, 9, 45)));
        assert!(StateFilter::new(false, None).admits_all() && !in_stock.admits_all());
        assert!(state(0, 2, 9).rating() > state(1, 3, 13).rating());
    }

    #[test]
    fn states_fit_into_a_column() {
        for state in [state(0, 0, 0), state(1, 0, 0), state(1, 3, 13)] {
            assert_eq!(State::from_column(state.to_column()), state);
        }
    }
}
