//! A cache of items by number, from which hits are completed without the store.
//!
//! It is exact if this market alone writes the store: each commit replaces what it has changed before its callers are
//! answered. What a search has read from the store meanwhile may be older, and is not kept.

use std::{
    iter,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use quick_cache::{Weighter, sync::Cache};
use souk_domain::{Item, ItemId, Sku, WorkingSet};

/// The maximum size of the cached items.
pub(super) const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// What an item takes beside its texts: itself, and its places in the cache.
const ITEM_BYTES: usize = size_of::<Item>() + 64;
/// The number of items for which the cache makes room at first.
const EXPECTED_ITEMS: usize = 16_384;
/// Items with the same remainder share the number of the last commit that has changed one of them.
const STRIPES: usize = 1_024;

/// Cached items and the commits that change them.
pub(super) struct HitCache {
    items: Cache<i64, Arc<Item>, Size>,
    /// The number of commits.
    commits: AtomicU64,
    /// For each stripe the last commit that has changed one of its items. Held while an item is put into the cache.
    stripes: Box<[Mutex<u64>]>,
}

/// The number of commits before something was read. What is read may lack every later one.
#[derive(Clone, Copy)]
pub(super) struct AsOf(u64);

#[derive(Clone)]
struct Size;

impl Weighter<i64, Arc<Item>> for Size {
    fn weight(&self, _: &i64, item: &Arc<Item>) -> u64 {
        let Item { name, description, category, seller_name, sku, .. } = &**item;
        let texts = [name.as_str(), description.as_str(), category.as_str(), seller_name.as_str()];
        let texts = texts.into_iter().chain(sku.as_ref().map(Sku::as_str)).map(str::len).sum::<usize>();
        (ITEM_BYTES + texts) as u64
    }
}

impl HitCache {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            items: Cache::with_weighter(EXPECTED_ITEMS, bytes, Size),
            commits: AtomicU64::new(0),
            stripes: (0..STRIPES).map(|_| Mutex::new(0)).collect(),
        }
    }

    /// Takes over what a commit has changed, in the order of commits and before its callers are answered.
    pub(super) fn committed(&self, rows: WorkingSet) {
        // Items name their sellers.
        let is_any = renames_sellers(&rows);
        self.take_over(is_any, rows.items.into_changes());
    }

    /// Forgets all items. It is unknown what a commit has changed.
    pub(super) fn forget(&self) {
        self.take_over(true, iter::empty());
    }

    fn take_over(&self, is_any: bool, items: impl Iterator<Item = (ItemId, Option<Item>)>) {
        let commit = self.commits.fetch_add(1, Ordering::AcqRel) + 1;
        if is_any {
            for stripe in &self.stripes {
                *lock(stripe) = commit;
            }
            self.items.clear();
        }
        for (id, item) in items {
            let mut last = lock(self.stripe(id));
            *last = commit;
            // Only what was searched for: an import must not push that out.
            let _ = match item {
                Some(item) => self.items.replace(id.0, Arc::new(item), true).is_ok(),
                None => self.items.remove(&id.0).is_some(),
            };
        }
    }

    /// Returns the number to be given to [`Self::keep`]. Must be called before the store is read.
    pub(super) fn as_of(&self) -> AsOf {
        AsOf(self.commits.load(Ordering::Acquire))
    }

    pub(super) fn get(&self, item: i64) -> Option<Arc<Item>> {
        self.items.get(&item)
    }

    /// Keeps an item that was read from the store, unless a commit may have changed it since.
    pub(super) fn keep(&self, item: &Arc<Item>, as_of: AsOf) {
        let last = lock(self.stripe(item.id));
        if *last <= as_of.0 {
            self.items.insert(item.id.0, Arc::clone(item));
        }
    }

    /// Returns the size of the cached items.
    pub(super) fn bytes(&self) -> u64 {
        self.items.weight()
    }

    fn stripe(&self, item: ItemId) -> &Mutex<u64> {
        &self.stripes[item.0.rem_euclid(STRIPES as i64) as usize]
    }
}

/// Returns whether a commit gives another name to a party that may have items. A new party claims a name too.
fn renames_sellers(rows: &WorkingSet) -> bool {
    let claims = i64::try_from(rows.claimed_names.len()).unwrap_or(i64::MAX);
    claims > rows.tally.totals.parties
}

/// Locks a stripe. A poisoned lock is safe to use: no update under it can panic half-way.
fn lock(stripe: &Mutex<u64>) -> MutexGuard<'_, u64> {
    stripe.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use souk_domain::{NameKey, Totals};
    use uuid::Uuid;

    use super::*;
    use crate::tests::{item, named};

    fn commit(cache: &HitCache, items: impl IntoIterator<Item = Item>) {
        cache.take_over(false, items.into_iter().map(|item| (item.id, Some(item))));
    }

    fn sold(number: i64) -> Item {
        Item { quantity: 0, sold: 1, version: 2, ..item(number, "Lamp") }
    }

    fn keep(cache: &HitCache, item: Item) -> AsOf {
        let as_of = cache.as_of();
        cache.keep(&Arc::new(item), as_of);
        as_of
    }

    #[test]
    fn commits_replace_what_is_cached() {
        let cache = HitCache::new(CACHE_BYTES);
        keep(&cache, item(1, "Lamp"));
        commit(&cache, [sold(1), sold(2)]);
        assert_eq!(*cache.get(1).unwrap(), sold(1));
        assert_eq!(cache.get(2), None, "nobody has searched for it");
    }

    /// A search may read an item just before a commit changes it, and keep it after the commit was answered.
    #[test]
    fn what_was_read_before_a_commit_is_not_kept_after_it() {
        let cache = HitCache::new(CACHE_BYTES);
        let before = cache.as_of();
        commit(&cache, [sold(1)]);
        cache.keep(&Arc::new(item(1, "Lamp")), before);
        assert_eq!(cache.get(1), None);
        cache.keep(&Arc::new(item(2, "Lamp")), before);
        assert!(cache.get(2).is_some(), "not changed by the commit");
        keep(&cache, sold(1));
        assert_eq!(*cache.get(1).unwrap(), sold(1));
    }

    #[test]
    fn renamed_sellers_are_not_shown_by_their_former_names() {
        let cache = HitCache::new(CACHE_BYTES);
        let before = keep(&cache, item(1, "Lamp"));
        let name = |text: &str| NameKey::of(&souk_domain::DisplayName::trusted(text.to_owned()));
        let claim = || {
            let mut rows = WorkingSet::default();
            rows.claimed_names.insert(souk_domain::PartyId(Uuid::from_u128(9)), name("Shop 2"));
            rows
        };
        let mut registered = claim();
        registered.tally.totals = Totals { parties: 1, ..Totals::default() };
        cache.committed(registered);
        assert!(cache.get(1).is_some(), "a new party has no items");
        cache.committed(claim());
        assert_eq!(cache.get(1), None);
        cache.keep(&Arc::new(item(1, "Lamp")), before);
        assert_eq!(cache.get(1), None, "read before");
    }

    #[test]
    fn nothing_is_kept_of_what_an_unknown_commit_may_have_changed() {
        let cache = HitCache::new(CACHE_BYTES);
        let before = keep(&cache, item(1, "Lamp"));
        cache.forget();
        cache.keep(&Arc::new(item(1, "Lamp")), before);
        assert_eq!(cache.get(1), None);
    }

    #[test]
    fn cache_is_bounded() {
        let cache = HitCache::new(100_000);
        let long = named(&"x".repeat(200));
        for number in 0..10_000 {
            keep(&cache, Item { name: long.clone(), ..item(number, "") });
            assert!(cache.bytes() <= 100_000);
        }
        assert!(cache.bytes() > 50_000);
    }
}
