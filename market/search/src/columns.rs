//! What is kept in memory of a segment: the categories of its documents, and the documents in other orders than by rank.
//!
//! A segment never changes, apart from deletions, so this is made once for each.

use std::sync::Arc;

use souk_domain::Category;
use tantivy::{DocId, SegmentReader, columnar::ColumnValues};

use super::{bits::Bits, schema, states::State};

/// The columns of a segment.
pub(super) struct Columns {
    pub(super) items: Arc<dyn ColumnValues<i64>>,
    pub(super) ranks: Arc<dyn ColumnValues<u64>>,
    pub(super) currencies: Arc<dyn ColumnValues<u64>>,
    pub(super) prices: Arc<dyn ColumnValues<i64>>,
    states: Arc<dyn ColumnValues<u64>>,
    /// All documents, by currency, price and item number.
    pub(super) by_price: Box<[DocId]>,
    /// All documents, best rating first, then by item number. The ratings are those that the documents say.
    pub(super) by_rating: Box<[DocId]>,
    /// All documents, highest item number first.
    pub(super) by_age: Box<[DocId]>,
    /// The documents that say that their items are in stock.
    pub(super) in_stock: Arc<Bits>,
    categories: Numbers,
    /// The categories by number, in order of their paths.
    pub(super) names: Box<[Category]>,
}

/// The category of each document, as a number within the segment.
enum Numbers {
    Short(Box<[u16]>),
    Long(Box<[u32]>),
}

impl Columns {
    pub(super) fn open(segment: &SegmentReader) -> tantivy::Result<Self> {
        let columns = segment.fast_fields();
        let items: Arc<dyn ColumnValues<i64>> = columns.column_first_or_default(schema::ITEM)?;
        let currencies: Arc<dyn ColumnValues<u64>> = columns.column_first_or_default(schema::CURRENCY)?;
        let prices: Arc<dyn ColumnValues<i64>> = columns.column_first_or_default(schema::PRICE)?;
        let states: Arc<dyn ColumnValues<u64>> = columns.column_first_or_default(schema::STATE)?;
        let state = |document| State::from_column(states.get_val(document));
        let documents = 0..segment.max_doc();
        let (categories, names) = categories(segment)?;
        Ok(Self {
            by_price: sorted(documents.clone(), |document| {
                (currencies.get_val(document), prices.get_val(document), items.get_val(document))
            }),
            by_rating: sorted(documents.clone(), |document| {
                (!state(document).rating(), items.get_val(document))
            }),
            by_age: sorted(documents.clone(), |document| !items.get_val(document)),
            in_stock: {
                let in_stock = documents.filter(|document| state(*document).is_in_stock());
                Arc::new(Bits::of(segment.max_doc(), in_stock))
            },
            items,
            ranks: columns.column_first_or_default(schema::RANK)?,
            currencies,
            prices,
            states,
            categories,
            names,
        })
    }

    /// Returns what a document says of its item's state.
    pub(super) fn state(&self, document: DocId) -> State {
        State::from_column(self.states.get_val(document))
    }

    /// Returns the documents of an item. All but one at most are deleted.
    pub(super) fn of_item(&self, item: i64) -> impl Iterator<Item = DocId> {
        let start = self.by_age.partition_point(|document| self.items.get_val(*document) > item);
        let rest = self.by_age[start..].iter().copied();
        rest.take_while(move |document| self.items.get_val(*document) == item)
    }

    /// Counts the documents in each category, by number.
    pub(super) fn count(&self, documents: impl Iterator<Item = DocId>) -> (u64, Box<[u64]>) {
        let mut counts = vec![0; self.names.len()].into_boxed_slice();
        let mut total = 0;
        documents.for_each(|document| {
            total += 1;
            if let Some(count) = counts.get_mut(self.category(document)) {
                *count += 1;
            }
        });
        (total, counts)
    }

    fn category(&self, document: DocId) -> usize {
        let document = document as usize;
        match &self.categories {
            Numbers::Short(numbers) => {
                numbers.get(document).map_or(usize::MAX, |number| usize::from(*number))
            }
            Numbers::Long(numbers) => numbers.get(document).map_or(usize::MAX, |number| *number as usize),
        }
    }

    /// Returns the first document with a lower rank.
    pub(super) fn after_rank(&self, rank: u64) -> DocId {
        partition(0..self.ranks.num_vals(), |document| self.ranks.get_val(document) >= rank)
    }
}

/// Returns the first number for which a condition does not hold, which holds for all before it.
pub(super) fn partition(mut range: std::ops::Range<u32>, holds: impl Fn(u32) -> bool) -> u32 {
    while range.start < range.end {
        let middle = range.start + (range.end - range.start) / 2;
        if holds(middle) { range.start = middle + 1 } else { range.end = middle }
    }
    range.start
}

fn sorted<K: Ord>(documents: std::ops::Range<DocId>, key: impl Fn(DocId) -> K) -> Box<[DocId]> {
    // With the keys beside them, because computing a key again for each comparison takes longer.
    let mut keys: Vec<(K, DocId)> = documents.map(|document| (key(document), document)).collect();
    keys.sort_unstable();
    keys.into_iter().map(|(_, document)| document).collect()
}

fn categories(segment: &SegmentReader) -> tantivy::Result<(Numbers, Box<[Category]>)> {
    let Some(column) = segment.fast_fields().str(schema::CATEGORY)? else {
        return Ok((Numbers::Short(Box::default()), Box::default()));
    };
    let all: Vec<u64> = (0..column.num_terms() as u64).collect();
    let mut names = Vec::with_capacity(all.len());
    column.dictionary().sorted_ords_to_term_cb(&all, |name| {
        names.push(Category::trusted(String::from_utf8_lossy(name).into_owned()));
    })?;
    let numbers = (0..segment.max_doc()).map(|document| column.ords().first(document).unwrap_or(u64::MAX));
    let numbers = if names.len() < usize::from(u16::MAX) {
        Numbers::Short(numbers.map(|number| u16::try_from(number).unwrap_or(u16::MAX)).collect())
    } else {
        Numbers::Long(numbers.map(|number| u32::try_from(number).unwrap_or(u32::MAX)).collect())
    };
    Ok((numbers, names.into()))
}
