//! Places: the position of an item in an order of results, used as keyset cursor.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tantivy::{DocId, Score, SegmentReader, columnar::ColumnValues};

use super::{SearchOrder, schema};

/// The sort key of an item in some order. Smaller ones come first, and they are unique because they end with
/// the item number, so that a page can continue exactly after one (keyset pagination).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Place {
    /// The currency if the order is by price, else 0.
    group: u32,
    /// The value that the order sorts by, mapped so that smaller comes first.
    rank: u64,
    /// The item's number, which breaks ties.
    pub(super) item: i64,
}

/// Computes the places of a segment's documents in one order.
pub(super) struct Places {
    items: Arc<dyn ColumnValues<i64>>,
    by: By,
}

enum By {
    Match { name_words: Arc<dyn ColumnValues<u64>> },
    Price { currency: Arc<dyn ColumnValues<u64>>, amount: Arc<dyn ColumnValues<i64>>, dearest_first: bool },
    Rating { mean: Arc<dyn ColumnValues<f64>> },
    Number,
}

/// Equal scores are ordered by the number of words in the name, up to this many.
const NAME_LENGTHS: u64 = 256;

impl Places {
    /// Opens the columns of a segment that the order needs. Without words there is no relevance, and newest
    /// comes first.
    pub(super) fn open(
        segment: &SegmentReader,
        order: SearchOrder,
        has_words: bool,
    ) -> tantivy::Result<Self> {
        let columns = segment.fast_fields();
        let price = |dearest_first| -> tantivy::Result<By> {
            Ok(By::Price {
                currency: columns.column_first_or_default(schema::CURRENCY)?,
                amount: columns.column_first_or_default(schema::PRICE)?,
                dearest_first,
            })
        };
        let by = match order {
            SearchOrder::Relevance if has_words => {
                By::Match { name_words: columns.column_first_or_default(schema::NAME_WORDS)? }
            }
            SearchOrder::Relevance | SearchOrder::Newest => By::Number,
            SearchOrder::PriceAscending => price(false)?,
            SearchOrder::PriceDescending => price(true)?,
            SearchOrder::Rating => By::Rating { mean: columns.column_first_or_default(schema::RATING)? },
        };
        Ok(Self { items: columns.column_first_or_default(schema::ITEM)?, by })
    }

    /// Returns the place of a document that matches with a score.
    pub(super) fn of(&self, document: DocId, score: Score) -> Place {
        let item = self.items.get_val(document);
        let (group, rank) = match &self.by {
            By::Match { name_words } => {
                let brevity = NAME_LENGTHS - 1 - name_words.get_val(document).min(NAME_LENGTHS - 1);
                // Scores are whole numbers, so the cast loses nothing. A shorter name wins among equals, since
                // the words make up more of it.
                (0, descending(score as u64 * NAME_LENGTHS + brevity))
            }
            By::Price { currency, amount, dearest_first } => {
                // Prices are never negative, so the unsigned value sorts like the signed one.
                let amount = amount.get_val(document).unsigned_abs();
                let rank = if *dearest_first { descending(amount) } else { amount };
                (u32::try_from(currency.get_val(document)).unwrap_or(u32::MAX), rank)
            }
            // The bits of non-negative floats sort like the floats themselves (IEEE 754, totalOrder).
            By::Rating { mean } => (0, descending(mean.get_val(document).to_bits())),
            By::Number => (0, descending(item.unsigned_abs())),
        };
        Place { group, rank, item }
    }
}

fn descending(value: u64) -> u64 {
    u64::MAX - value
}
