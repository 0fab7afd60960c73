//! Places: where an item stands in an order of results.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tantivy::{DocId, Score, SegmentReader, columnar::ColumnValues};

use super::{SearchOrder, schema};

/// An item's place. Smaller ones come first, and no two items share one, so that a page can continue
/// exactly after a place (keyset paging).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Place {
    /// The currency in the orders by price, else 0.
    group: u32,
    /// Made from what the order goes by.
    rank: u64,
    /// The item's number.
    pub(super) item: i64,
}

/// Says for each document of a segment where it stands in an order.
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

/// The ranks of equal scores are told apart by this many lengths of names.
const NAME_LENGTHS: u64 = 256;

impl Places {
    /// Of a segment, in an order; without words a search has no relevance to go by.
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

    /// Where a document stands that matches with this score.
    pub(super) fn of(&self, document: DocId, score: Score) -> Place {
        let item = self.items.get_val(document);
        let (group, rank) = match &self.by {
            By::Match { name_words } => {
                let brevity = NAME_LENGTHS - 1 - name_words.get_val(document).min(NAME_LENGTHS - 1);
                (0, descending(score as u64 * NAME_LENGTHS + brevity))
            }
            By::Price { currency, amount, dearest_first } => {
                let amount = amount.get_val(document).unsigned_abs();
                let rank = if *dearest_first { descending(amount) } else { amount };
                (u32::try_from(currency.get_val(document)).unwrap_or(u32::MAX), rank)
            }
            // The bits of floats that are 0 or more stand in the order of the floats (IEEE 754, totalOrder).
            By::Rating { mean } => (0, descending(mean.get_val(document).to_bits())),
            By::Number => (0, descending(item.unsigned_abs())),
        };
        Place { group, rank, item }
    }
}

fn descending(value: u64) -> u64 {
    u64::MAX - value
}
