//! Trade that goes on while the market fails: buyers buy and cancel, sellers restock. A call whose outcome is unknown is
//! repeated with the same `request_id` until it is known; every acknowledgement is written into a journal first.

mod audit;
pub(crate) mod call;
mod journal;
mod listeners;
mod traders;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use souk_certs::identity::Role;
use souk_client::Connection;
use souk_proto::{Reason, v1};
use tokio::task::JoinSet;

use crate::site::Site;
pub(crate) use audit::Findings;
use journal::{Entry, Journal};
pub(crate) use listeners::{Arrivals, Listener};

/// The number of buyers, and of calls that each has in flight.
const BUYERS: usize = 8;
pub(crate) const CALLS_OF_BUYER: usize = 2;
/// The first items sell out again and again, and are restocked.
const SCARCE: usize = 4;
const SCARCE_STOCK: i64 = 5;
/// Units of the other items, more than a run buys.
const STOCK: i64 = 10_000_000;

/// The number of acknowledgements that are checked after each restart. All are checked at the end.
const NEWEST: usize = 64;

/// What to set up.
#[derive(Clone, Copy)]
pub(crate) struct TradeOptions {
    /// The number of sellers, each with one item.
    pub(crate) sellers: usize,
    /// Whether the sellers have callback servers.
    pub(crate) callbacks: bool,
    /// The seed of what the parties do.
    pub(crate) seed: u64,
}

/// The parties and what they know.
pub(crate) struct Trade {
    parties: Arc<Parties>,
    running: JoinSet<anyhow::Result<()>>,
    seed: u64,
    listeners: Vec<Listener>,
}

struct Parties {
    sellers: Vec<Connection>,
    buyers: Vec<Connection>,
    /// The item of each seller.
    items: Vec<i64>,
    /// The units of each item at the beginning.
    stock: HashMap<i64, i64>,
    journal: Journal,
    arrivals: Arrivals,
    progress: Progress,
}

/// What the traders count.
#[derive(Default)]
struct Progress {
    stop: AtomicBool,
    refused: AtomicU64,
    /// Calls that were in flight when the market went away.
    cut_off: AtomicU64,
    /// The reasons with which the market has rejected calls for the time being.
    reasons: Mutex<BTreeSet<&'static str>>,
}

impl Progress {
    fn note(&self, failure: &souk_client::Error) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        reasons.extend(failure.reason().map(Reason::as_str));
    }
}

impl Trade {
    /// Registers the parties and lists the items at a market that is open.
    pub(crate) async fn open(site: &mut Site, options: TradeOptions) -> anyhow::Result<Self> {
        let arrivals = Arrivals::default();
        let (mut sellers, mut buyers, mut items) = (Vec::new(), Vec::new(), Vec::new());
        let (mut stock, mut listeners) = (HashMap::new(), Vec::new());
        for number in 0..options.sellers {
            let (seller, config) =
                site.connect(&format!("seller-{number}"), Role::Seller, site.address).await?;
            let mut callback = None;
            if options.callbacks {
                let listener = Listener::open(&config, arrivals.clone()).await?;
                callback = Some(v1::CallbackAddress { host: String::new(), port: listener.port().into() });
                listeners.push(listener);
            }
            let units = if number < SCARCE { SCARCE_STOCK } else { STOCK };
            let item = open_shop(&seller, number, callback, units).await?;
            stock.insert(item, units);
            items.push(item);
            sellers.push(seller);
        }
        for number in 0..BUYERS {
            let (buyer, _) = site.connect(&format!("buyer-{number}"), Role::Buyer, site.address).await?;
            let display_name = format!("buyer {number}");
            buyer.call(v1::RegisterBuyerRequest { display_name, ..Default::default() }).await?;
            buyers.push(buyer);
        }
        let journal = Journal::create(&site.path().join("journal"))?;
        let progress = Progress::default();
        let parties = Parties { sellers, buyers, items, stock, journal, arrivals, progress };
        Ok(Self { parties: Arc::new(parties), running: JoinSet::new(), seed: options.seed, listeners })
    }

    /// Starts the traders.
    pub(crate) fn start(&mut self) {
        self.parties.progress.stop.store(false, Ordering::SeqCst);
        for slot in 0..BUYERS * CALLS_OF_BUYER {
            self.running.spawn(traders::buy(Arc::clone(&self.parties), slot, self.seed));
        }
        self.running.spawn(traders::restock(Arc::clone(&self.parties), SCARCE, self.seed));
        // Other runs of the traders do other things.
        self.seed += 1;
    }

    /// Lets every trader finish its call, until its outcome is known.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        self.parties.progress.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.running.join_next().await {
            ended.context("a trader panicked")??;
        }
        Ok(())
    }

    /// Returns an error if a trader has given up.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        self.running.try_join_next().map_or(Ok(()), |ended| ended.context("a trader panicked")?)
    }

    /// Returns the number of acknowledgements.
    pub(crate) fn acked(&self) -> usize {
        self.parties.journal.len()
    }

    /// Returns the number of refusals for lack of stock.
    pub(crate) fn refused(&self) -> u64 {
        self.parties.progress.refused.load(Ordering::Relaxed)
    }

    /// Returns the reasons with which the market has rejected calls for the time being.
    pub(crate) fn reasons(&self) -> Vec<&'static str> {
        let reasons = self.parties.progress.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        reasons.iter().copied().collect()
    }

    /// Returns the number of calls that were in flight when the market went away.
    pub(crate) fn cut_off(&self) -> u64 {
        self.parties.progress.cut_off.load(Ordering::Relaxed)
    }

    /// Returns what has arrived at the sellers' callback servers.
    pub(crate) fn arrivals(&self) -> &Arrivals {
        &self.parties.arrivals
    }

    /// Returns the ports of the sellers' callback servers.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.listeners.iter().map(Listener::port).collect()
    }

    /// Returns the newest acknowledgements, which a fault would hit first.
    pub(crate) fn newest(&self) -> Vec<Entry> {
        self.parties.journal.since(self.acked().saturating_sub(NEWEST))
    }

    /// Looks up acknowledged changes while trade goes on, and then repeats their requests.
    pub(crate) async fn recheck(&self, entries: Vec<Entry>) -> anyhow::Result<Findings> {
        // In this order: a repeated request of a lost order would place it again.
        let lost = audit::lost(&self.parties, &entries).await?;
        let doubled = audit::doubled(&self.parties, &entries).await?;
        Ok(Findings { lost, doubled, ..Findings::default() })
    }

    /// Repeats the request of every acknowledged change: each must be answered as before. After [`audit`](Self::audit),
    /// because the request of a lost order would place it again.
    pub(crate) async fn repeat_all(&self) -> anyhow::Result<Findings> {
        let doubled = audit::doubled(&self.parties, &self.parties.journal.since(0)).await?;
        Ok(Findings { doubled, ..Findings::default() })
    }

    /// Compares all that the market has with all that was acknowledged. The traders must have stopped by themselves.
    pub(crate) async fn audit(&self) -> anyhow::Result<Findings> {
        audit::compare(&self.parties).await
    }

    /// Waits for the notifications of all acknowledged orders. Returns the number of those that have not come in time.
    pub(crate) async fn undelivered(&self, patience: Duration) -> usize {
        audit::undelivered(&self.parties, patience).await
    }

    /// Returns how many notifications of acknowledged orders are in no seller's mailbox. Only for sellers without
    /// callbacks, who take none out.
    pub(crate) async fn lost_events(&self) -> anyhow::Result<usize> {
        audit::lost_events(&self.parties).await
    }

    /// Reads an item. Returns whether the market answered.
    pub(crate) async fn can_read(&self) -> bool {
        let item_id = self.parties.items.last().copied().unwrap_or(0);
        self.parties.buyers[0].call(v1::GetItemRequest { item_id }).await.is_ok()
    }
}

/// Registers a seller and lists its item.
pub(crate) async fn open_shop(
    seller: &Connection,
    number: usize,
    callback: Option<v1::CallbackAddress>,
    units: i64,
) -> anyhow::Result<i64> {
    let display_name = format!("seller {number}");
    let request = v1::RegisterSellerRequest { display_name, callback, ..Default::default() };
    seller.call(request).await?;
    let item = v1::ItemDraft {
        name: Some(format!("good {number}")),
        category: Some("goods".into()),
        unit_price: Some(v1::Money { amount_minor: 100, currency_code: "GBP".into() }),
        quantity: Some(units),
        ..Default::default()
    };
    let listed = seller.call(v1::SellItemRequest { item: Some(item), ..Default::default() }).await?;
    Ok(listed.item.context("an item")?.item_id)
}
