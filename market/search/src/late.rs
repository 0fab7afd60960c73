//! The items whose documents are late: they follow within [`LATE_AFTER`], for many purchases and ratings at once.

use std::{collections::BTreeMap, time::Duration};

use souk_store::FeedPosition;
use tokio::time::Instant;

use super::{said::Said, states::State};

/// How long a document may say something else of its item's stock, rating and rank than is the case.
pub(super) const LATE_AFTER: Duration = Duration::from_secs(60);
/// The maximum number of such documents. When there are so many, they are written at once, and further ones not later.
pub(super) const MAX_LATE: usize = 16_384;

/// The items whose documents say something else of their stock, rating or rank than is the case.
#[derive(Debug)]
pub(super) struct Late {
    since: Option<Instant>,
    items: BTreeMap<i64, LateItem>,
    /// The maximum number of such items.
    max: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct LateItem {
    /// The first position in the feed from which the document says something else.
    first: FeedPosition,
    /// What it should say.
    pub(super) said: Said,
}

impl Late {
    /// Allows at most this many.
    pub(super) fn new(max: usize) -> Self {
        Self { since: None, items: BTreeMap::new(), max }
    }

    /// Returns whether an item is late already, or may be.
    pub(super) fn has_room_for(&self, item: i64) -> bool {
        self.items.len() < self.max || self.items.contains_key(&item)
    }

    pub(super) fn insert(&mut self, item: i64, position: FeedPosition, said: Said) {
        if self.items.is_empty() {
            self.since = Some(Instant::now());
        }
        self.items.entry(item).or_insert(LateItem { first: position, said }).said = said;
    }

    /// Removes an item, and returns whether it was there.
    pub(super) fn remove(&mut self, item: i64) -> bool {
        self.items.remove(&item).is_some()
    }

    pub(super) fn get(&self, item: i64) -> Option<LateItem> {
        self.items.get(&item).copied()
    }

    /// Returns when the documents must be written; `None` if there are none.
    pub(super) fn due(&self) -> Option<Instant> {
        let since = self.since.filter(|_| !self.items.is_empty())?;
        Some(if self.items.len() < self.max { since + LATE_AFTER } else { since })
    }

    /// Notes that the documents are being written.
    pub(super) fn restart(&mut self) {
        self.since = Some(Instant::now());
    }

    /// Returns the last position in the feed before which all documents say what is the case.
    pub(super) fn complete(&self) -> Option<FeedPosition> {
        self.items.values().map(|late| FeedPosition(late.first.0 - 1)).min()
    }

    pub(super) fn numbers(&self) -> impl ExactSizeIterator<Item = i64> {
        self.items.keys().copied()
    }

    /// Returns the states of the items.
    pub(super) fn states(&self) -> Vec<(i64, State)> {
        self.items.iter().map(|(item, late)| (*item, late.said.state)).collect()
    }
}
