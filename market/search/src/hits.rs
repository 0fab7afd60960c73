//! Completing hits: the index knows their numbers, and the rest comes from a cache or from the store.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use souk_domain::{Item, ItemId, WorkingSet};
use souk_store::{Reads, StoreError};

use super::hit_cache::{CACHE_BYTES, HitCache};

/// Who writes to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreWriters {
    /// This market alone, which reports every commit by [`Search::committed`](super::Search::committed). Hits are
    /// completed from a cache.
    ThisMarket,
    /// Other markets too, whose commits a cache would miss. Hits are read from the store, a page by one query.
    Several,
}

/// Where hits are completed from.
pub(super) struct Hits {
    reads: Arc<dyn Reads>,
    cache: Option<HitCache>,
    cached: AtomicU64,
    read: AtomicU64,
}

/// How many hits were completed from where, and the size of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HitCounts {
    /// The hits that were completed from the cache.
    pub cached: u64,
    /// The hits that were read from the store.
    pub read: u64,
    /// The size of the cached items in bytes; 0 without a cache.
    pub cache_bytes: u64,
}

impl Hits {
    pub(super) fn new(reads: Arc<dyn Reads>, writers: StoreWriters) -> Self {
        let cache = (writers == StoreWriters::ThisMarket).then(|| HitCache::new(CACHE_BYTES));
        Self { reads, cache, cached: AtomicU64::new(0), read: AtomicU64::new(0) }
    }

    /// Takes over what a commit has changed; see [`Search::committed`](super::Search::committed).
    pub(super) fn committed(&self, rows: WorkingSet) {
        if let Some(cache) = &self.cache {
            cache.committed(rows);
        }
    }

    /// Forgets what is cached; see [`Search::forget_hits`](super::Search::forget_hits).
    pub(super) fn forget(&self) {
        if let Some(cache) = &self.cache {
            cache.forget();
        }
    }

    /// Returns the current state of those items that are still listed, by number.
    pub(super) async fn items(&self, numbers: &[i64]) -> Result<HashMap<i64, Arc<Item>>, StoreError> {
        let cached = self.cache.iter().flat_map(|cache| numbers.iter().filter_map(|item| cache.get(*item)));
        let mut items: HashMap<_, _> = cached.map(|item| (item.id.0, item)).collect();
        let missing = numbers.iter().filter(|item| !items.contains_key(*item));
        let missing: Vec<_> = missing.copied().map(ItemId).collect();
        self.cached.fetch_add(items.len() as u64, Ordering::Relaxed);
        self.read.fetch_add(missing.len() as u64, Ordering::Relaxed);
        if !missing.is_empty() {
            self.read(&missing, &mut items).await?;
        }
        // The index lags behind: an item that was deleted since then must not be shown.
        items.retain(|_, item| item.is_listed());
        Ok(items)
    }

    async fn read(&self, missing: &[ItemId], items: &mut HashMap<i64, Arc<Item>>) -> Result<(), StoreError> {
        let keeping = self.cache.as_ref().map(|cache| (cache, cache.as_of()));
        for item in self.reads.items(missing).await?.into_iter().map(Arc::new) {
            if let Some((cache, as_of)) = keeping {
                cache.keep(&item, as_of);
            }
            items.insert(item.id.0, item);
        }
        Ok(())
    }

    pub(super) fn counts(&self) -> HitCounts {
        HitCounts {
            cached: self.cached.load(Ordering::Relaxed),
            read: self.read.load(Ordering::Relaxed),
            cache_bytes: self.cache.as_ref().map(HitCache::bytes).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Shop, item};

    fn shop() -> Arc<Shop> {
        let shop = Arc::<Shop>::default();
        for number in 1..=5 {
            shop.put(item(number, "Lamp"));
        }
        shop
    }

    #[tokio::test]
    async fn hits_are_read_once() {
        let shop = shop();
        let hits = Hits::new(shop.clone(), StoreWriters::ThisMarket);
        assert_eq!(hits.items(&[1, 2, 3]).await.unwrap().len(), 3);
        assert_eq!(hits.items(&[3, 4, 1]).await.unwrap().len(), 3);
        let HitCounts { cached, read, cache_bytes } = hits.counts();
        assert_eq!((cached, read, shop.item_reads()), (2, 4, 2));
        assert!(cache_bytes > 0);
        assert_eq!(hits.items(&[4, 3, 2, 1]).await.unwrap().len(), 4);
        assert_eq!(shop.item_reads(), 2, "the store is not asked");
    }

    #[tokio::test]
    async fn page_of_a_shared_store_is_one_query_and_nothing_is_kept() {
        let shop = shop();
        let hits = Hits::new(shop.clone(), StoreWriters::Several);
        for number in 1..4 {
            assert_eq!(hits.items(&[1, 2, 3, 4, 5]).await.unwrap().len(), 5);
            assert_eq!(shop.item_reads(), number);
        }
        assert_eq!(hits.counts(), HitCounts { cached: 0, read: 15, cache_bytes: 0 });
        assert!(hits.items(&[]).await.unwrap().is_empty());
        assert_eq!(shop.item_reads(), 3, "an empty page asks for nothing");
    }
}
