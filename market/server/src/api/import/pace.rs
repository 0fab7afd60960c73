//! The pace of imports: a rate for each party, and turns between parties for the search index.
//!
//! Imports write faster than the index follows. Everybody whose changes come after theirs in the item feed would wait
//! for the index, so an import waits instead before each batch of rows. Nothing is read from its stream meanwhile:
//! HTTP/2 flow control slows the sender down.

use std::{num::NonZeroU32, sync::Arc};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter, clock::Clock as _};
use quick_cache::sync::Cache;
use souk_domain::{ImportRow, PartyId};
use souk_search::Search;
use tokio::{sync::Semaphore, time::sleep};

use crate::observe::Tally;

/// Maximum number of parties whose rate is tracked. An evicted party gains at most one full burst.
const PARTIES: usize = 4_096;

/// The pace of all imports. Clones share it.
#[derive(Clone)]
pub struct ImportPace(Arc<Shared>);

struct Shared {
    rate: Quota,
    importers: Cache<PartyId, Arc<Importer>>,
    waiting: Tally,
}

/// The share of one party, whatever its number of streams.
struct Importer {
    rows: DefaultDirectRateLimiter,
    /// Held while a batch waits, so that a party with many streams has one batch in line, like any other.
    turn: Semaphore,
}

impl ImportPace {
    /// Admits this many rows per second of each party. One second's rows may come at once.
    pub fn new(rows_per_second: u32) -> Self {
        // A batch must fit into the burst, or it would never be admitted. Loading the settings has rejected less.
        let rows = rows_per_second.max(ImportRow::MAX_AT_ONCE as u32);
        let rate = Quota::per_second(NonZeroU32::new(rows).unwrap_or(NonZeroU32::MIN));
        Self(Arc::new(Shared { rate, importers: Cache::new(PARTIES), waiting: Tally::default() }))
    }

    /// Waits until a party may submit the next batch of rows.
    pub(super) async fn admit(&self, party: PartyId, rows: usize, search: &Search) {
        let Some(rows) = u32::try_from(rows).ok().and_then(NonZeroU32::new) else { return };
        let _waiting = self.0.waiting.enter();
        let importer = self.0.importer(party);
        // Fails only if the semaphore is closed, which it never is.
        let _turn = importer.turn.acquire().await;
        // `Err` means more rows than the burst, which `new` rules out.
        while let Ok(Err(not_yet)) = importer.rows.check_n(rows) {
            sleep(not_yet.wait_time_from(importer.rows.clock().now())).await;
        }
        search.wait_for_room().await;
    }

    /// Returns the number of batches that wait.
    pub fn waiting(&self) -> usize {
        self.0.waiting.count()
    }
}

impl Shared {
    fn importer(&self, party: PartyId) -> Arc<Importer> {
        if let Some(importer) = self.importers.get(&party) {
            return importer;
        }
        let fresh = Arc::new(Importer { rows: RateLimiter::direct(self.rate), turn: Semaphore::new(1) });
        // Two streams may both insert at first contact. The later one wins, which costs at most one burst.
        self.importers.insert(party, Arc::clone(&fresh));
        fresh
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use souk_search::{IndexHome, StoreWriters, Wording};
    use souk_store::memory;
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn party_has_a_rate_for_all_of_its_imports_together() {
        let (reads, writers) = (memory::open().reads, StoreWriters::ThisMarket);
        let search = Search::open(IndexHome::Memory, Wording::default(), reads, writers).await.unwrap();
        let pace = ImportPace::new(1);
        let [mallory, alice] = [1, 2].map(|number| PartyId(Uuid::from_u128(number)));
        let at_once = ImportRow::MAX_AT_ONCE;
        assert!(pace.admit(mallory, at_once, &search).now_or_never().is_some(), "the burst");
        {
            let mut next = [(); 3].map(|()| Box::pin(pace.admit(mallory, at_once, &search)));
            for next in &mut next {
                assert!(futures::poll!(next).is_pending(), "one second's rows have been admitted");
            }
            assert_eq!(pace.waiting(), 3);
            assert!(pace.admit(alice, at_once, &search).now_or_never().is_some(), "her rate is her own");
        }
        assert_eq!(pace.waiting(), 0);
        search.close().await;
    }
}
