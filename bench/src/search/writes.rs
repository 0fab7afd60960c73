//! Changes of items beside the searches, and how soon a seller finds its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;
use hdrhistogram::Histogram;
use souk_client::Connection;
use souk_proto::v1;
use souk_testkit::actor::pounds;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::times::micros;
use crate::{load::histogram, made_up::Draws};

/// Items of a seller that are changed.
const CHANGED: usize = 5_000;
/// Items on a page of the list of them.
const LISTED: i32 = 200;
/// Changes in flight of one seller.
const AT_ONCE: usize = 4;
/// Own writes that are measured.
const OWN_WRITES: u64 = 200;

/// Sellers that change their items at a steady pace, until this is dropped.
pub(super) struct Writers {
    tasks: JoinSet<()>,
    changes: Arc<AtomicU64>,
    failures: Arc<AtomicU64>,
    began: Instant,
}

impl Writers {
    /// Begins to make `per_second` changes of prices, which move items in the index.
    pub(super) fn start(sellers: &[(Connection, Vec<i64>)], per_second: u32) -> Self {
        let mut writers = Self {
            tasks: JoinSet::new(),
            changes: Arc::default(),
            failures: Arc::default(),
            began: Instant::now(),
        };
        let slots = sellers.len() * AT_ONCE;
        let pace = Duration::from_secs(1) * u32::try_from(slots).unwrap_or(u32::MAX) / per_second.max(1);
        for slot in 0..slots {
            let (seller, items) = sellers[slot % sellers.len()].clone();
            let (changes, failures) = (Arc::clone(&writers.changes), Arc::clone(&writers.failures));
            writers.tasks.spawn(async move {
                let (mut pace, mut random) = (interval(pace), Draws(slot as u64));
                pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
                loop {
                    pace.tick().await;
                    let item = items[random.below(items.len() as u64) as usize];
                    let is_changed = reprice(&seller, item, random.price()).await;
                    let outcome = if is_changed { &changes } else { &failures };
                    outcome.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        writers
    }

    /// Stops, and returns the number of changes, of failed ones, and the seconds that it took.
    pub(super) fn stop(self) -> (u64, u64, f64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.changes), count(&self.failures), self.began.elapsed().as_secs_f64())
    }
}

async fn reprice(seller: &Connection, item_id: i64, amount_minor: i64) -> bool {
    let item = Some(v1::ItemDraft { unit_price: pounds(amount_minor), ..Default::default() });
    seller.call(v1::UpdateItemRequest { item_id, item, ..Default::default() }).await.is_ok()
}

/// Returns each seller with some of its items.
pub(super) async fn with_items(sellers: Vec<Connection>) -> anyhow::Result<Vec<(Connection, Vec<i64>)>> {
    let mut all = Vec::new();
    for seller in sellers {
        let (mut items, mut page_token) = (Vec::new(), String::new());
        while items.len() < CHANGED {
            let request =
                v1::DisplaySellerItemsRequest { page_size: LISTED, page_token, ..Default::default() };
            let page = seller.call(request).await?;
            items.extend(page.items.iter().map(|item| item.item_id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        if !items.is_empty() {
            all.push((seller, items));
        }
    }
    ensure!(!all.is_empty(), "no seller has an item");
    Ok(all)
}

/// Renames an item again and again, and searches for it by its new name. Returns the time from the acknowledgement of
/// the change to the answer of the search that shows it.
pub(super) async fn own_writes(seller: &Connection, items: &[i64]) -> anyhow::Result<Histogram<u64>> {
    let mut times = histogram()?;
    for number in 0..OWN_WRITES {
        // A word that no other resembles. It has no digits, because no typo is forgiven in words with digits.
        let word: String = format!("{number:05}").bytes().map(|digit| char::from(digit + 49)).collect();
        let name = Some(format!("{word} own"));
        let item_id = items[number as usize % items.len()];
        let item = Some(v1::ItemDraft { name, ..Default::default() });
        seller.call(v1::UpdateItemRequest { item_id, item, ..Default::default() }).await?;
        let acknowledged = Instant::now();
        let request = v1::SearchItemRequest { query: word, page_size: 10, ..Default::default() };
        let found = seller.call(request).await?;
        times.saturating_record(micros(acknowledged.elapsed()));
        let is_found = found.items.iter().any(|item| item.item_id == item_id);
        ensure!(is_found, "a seller's search does not show its own change of item {item_id}");
    }
    Ok(times)
}
