//! Compares ratings with their expected values, and counts the comparisons.

use std::sync::atomic::{AtomicU64, Ordering};

use souk_proto::v1;

/// The result of all comparisons so far.
#[derive(Default)]
pub(super) struct Ratings {
    checked: AtomicU64,
    wrong: AtomicU64,
}

impl Ratings {
    /// Compares the ratings of an item with the only one that it can have.
    pub(super) fn check(&self, item: &v1::Item, expected: Option<i32>) {
        self.checked.fetch_add(1, Ordering::Relaxed);
        let found = item.rating.as_ref().map(|rating| (rating.count, rating.mean));
        if found != expected.map(|stars| (1, f64::from(stars))) {
            self.wrong.fetch_add(1, Ordering::Relaxed);
            eprintln!("item {}: its ratings are {found:?}, not one of {expected:?} stars", item.item_id);
        }
    }

    pub(super) fn checked(&self) -> u64 {
        self.checked.load(Ordering::Relaxed)
    }

    pub(super) fn wrong(&self) -> u64 {
        self.wrong.load(Ordering::Relaxed)
    }
}
