//! Compares the index with the store, also while a market writes to both.

use std::{collections::HashMap, path::Path};

use souk_domain::{Item, ItemId};
use souk_store::{FeedPosition, Reads};
use tantivy::Searcher;

use super::{SearchError, home, schema};

/// The number of items that are read from the store at a time.
const PAGE: usize = 1_000;
/// How often the index is read again if a market commits to it meanwhile.
const ATTEMPTS: usize = 10;

/// What comparing the index with the store has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// The feed position up to which the index claims to be complete. Later changes are not compared.
    pub indexed: FeedPosition,
    /// The number of items that agree.
    pub agreeing: u64,
    /// Items that are listed in the store and not in the index.
    pub missing: Vec<ItemId>,
    /// Items whose price differs, or that are in the index more than once.
    pub different: Vec<ItemId>,
    /// Items that are in the index and not listed in the store.
    pub superfluous: Vec<ItemId>,
}

impl Agreement {
    /// Whether the index agrees with the store.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.different.is_empty() && self.superfluous.is_empty()
    }
}

/// Compares the index in a directory with the store. `None` if there is no index.
///
/// # Errors
///
/// Fails if the index can't be read, or changes faster than it can be read, or if the store can't be read.
pub async fn examine(directory: &Path, reads: &dyn Reads) -> Result<Option<Agreement>, SearchError> {
    let Some((mut indexed, position)) = snapshot(directory)? else { return Ok(None) };
    let mut agreement = Agreement { indexed: position, ..Agreement::default() };
    let mut after = FeedPosition(0);
    loop {
        let page = reads.item_feed(after, PAGE).await?;
        for entry in &page {
            let found = indexed.remove(&entry.item.id.0);
            // What was changed after the index was read may be in any state in it.
            if entry.position <= position {
                agreement.compare(&entry.item, found.as_deref());
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = last.position,
            _ => break,
        }
    }
    agreement.superfluous.extend(indexed.into_keys().map(ItemId));
    agreement.superfluous.sort_unstable();
    Ok(Some(agreement))
}

impl Agreement {
    fn compare(&mut self, item: &Item, indexed: Option<&[i64]>) {
        match (item.is_listed(), indexed) {
            (true, Some([price])) if *price == item.unit_price.amount_minor() => self.agreeing += 1,
            (true, Some(_)) => self.different.push(item.id),
            (true, None) => self.missing.push(item.id),
            (false, Some(_)) => self.superfluous.push(item.id),
            (false, None) => {}
        }
    }
}

/// The prices of each item in the index. An item that is indexed twice has two.
type Prices = HashMap<i64, Vec<i64>>;

/// Reads the index as it was at one commit.
fn snapshot(directory: &Path) -> Result<Option<(Prices, FeedPosition)>, SearchError> {
    for _ in 0..ATTEMPTS {
        let Some((index, position)) = home::existing(directory)? else { return Ok(None) };
        let before = index.load_metas()?.opstamp;
        let searcher = index.reader()?.searcher();
        // The position comes from one file and the documents from others. A commit in between is noticed by its
        // stamp.
        if index.load_metas()?.opstamp == before && home::position(&index)? == position {
            return Ok(Some((prices(&searcher)?, position)));
        }
    }
    Err(SearchError::Behind)
}

fn prices(searcher: &Searcher) -> tantivy::Result<Prices> {
    let mut all = Prices::new();
    for segment in searcher.segment_readers() {
        let (items, prices) =
            (segment.fast_fields().i64(schema::ITEM)?, segment.fast_fields().i64(schema::PRICE)?);
        for document in segment.doc_ids_alive() {
            if let (Some(item), Some(price)) = (items.first(document), prices.first(document)) {
                all.entry(item).or_default().push(price);
            }
        }
    }
    Ok(all)
}
