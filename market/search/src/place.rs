//! Places: the position of an item in an order of results, used as keyset cursor.

use serde::{Deserialize, Serialize};
use tantivy::DocId;

use super::{SearchOrder, columns::Columns, states::State};

/// The sort key of an item in some order. Smaller ones come first, and they are unique because they end with
/// the item number, so that a page can continue exactly after one (keyset pagination).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Place {
    /// The tier if the order is by relevance, the currency if it is by price, else 0.
    pub(super) group: u32,
    /// The value that the order sorts by, mapped so that smaller comes first.
    value: u64,
    /// The item's number, which breaks ties.
    pub(super) item: i64,
}

impl Place {
    /// Returns the place of an item in a tier.
    pub(super) fn of_rank(tier: u32, rank: u64, item: i64) -> Self {
        Self { group: tier, value: !rank, item }
    }

    /// Returns the rank of an item in a tier.
    pub(super) fn rank(self) -> u64 {
        !self.value
    }

    /// Returns whether an item is cheaper than another of its currency, of places by falling price.
    pub(super) fn is_cheaper_than(self, other: Self) -> bool {
        self.value > other.value
    }

    /// Returns the place of a document in an order other than by relevance, going by what the document says.
    pub(super) fn of(columns: &Columns, order: SearchOrder, document: DocId) -> Self {
        let item = columns.items.get_val(document);
        // Prices are never negative, so the unsigned value sorts like the signed one.
        let price = || columns.prices.get_val(document).unsigned_abs();
        let currency = || u32::try_from(columns.currencies.get_val(document)).unwrap_or(u32::MAX);
        let (group, value) = match order {
            SearchOrder::PriceAscending => (currency(), price()),
            SearchOrder::PriceDescending => (currency(), !price()),
            SearchOrder::Rating => return Self::of_state(columns.state(document), item),
            SearchOrder::Relevance | SearchOrder::Newest => (0, !item.unsigned_abs()),
        };
        Self { group, value, item }
    }

    /// Returns the place of an item in the order by rating.
    pub(super) fn of_state(state: State, item: i64) -> Self {
        Self { group: 0, value: !u64::from(state.rating()), item }
    }
}

/// Returns the first places, in order.
pub(super) fn first(mut places: Vec<Place>, most: usize) -> Vec<Place> {
    if places.len() > most && most > 0 {
        places.select_nth_unstable(most - 1);
    }
    places.truncate(most);
    places.sort_unstable();
    places
}
