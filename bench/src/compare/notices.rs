//! Purchases from many sellers with callbacks, and how many of them the sellers are notified of in the same time.
//!
//! *Sustained* is the rate at which purchases and notices go on together: a purchase waits while too many notices are
//! on their way. The backlog is therefore bounded, and what arrives is what the market can deliver beside the purchases.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use souk_authority::pki::{InitOptions, Pki};
use souk_certs::{clock, credentials::Credentials, identity::Role};
use souk_client::{ClientConfig, Connection, Inbox, Notice, Seen};
use souk_proto::v1::{self, event::Kind};
use souk_testkit::actor::draft;
use tempfile::TempDir;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    fixture::{connect, issue, registered_buyers},
    load::{self, CallOutcome},
    process::ServerProcess,
    workload,
};

/// Sellers with callbacks, and items of each.
pub(super) const SELLERS: usize = 200;
const ITEMS_EACH: usize = 5;
/// Units of each item, more than any run buys.
const STOCK: i64 = 1_000_000_000;
/// Notices that may be on their way while the rate is sustained: many times what is in flight.
const BACKLOG: usize = 2_000;
/// Deadline for the notices that are on their way after a phase.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often to look whether they have arrived.
const LOOK: Duration = Duration::from_millis(5);

/// A market, its sellers and buyers.
pub(super) struct Notified {
    _market: ServerProcess,
    buyers: Vec<Connection>,
    items: Vec<i64>,
    /// Orders that were placed, over all phases.
    bought: Arc<AtomicU64>,
    inboxes: Inboxes,
    _folder: TempDir,
}

/// The rates of one round, per second.
pub(super) struct Rates {
    /// Purchases that wait for nothing.
    pub(super) purchases: f64,
    /// Notices that arrive while those purchases are made.
    pub(super) meanwhile: f64,
    /// Notices that arrive while purchases wait for them.
    pub(super) sustained: f64,
}

impl Notified {
    pub(super) async fn start(threads: usize) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let dir = folder.path();
        let mut pki = Pki::init(&dir.join("pki"), &InitOptions::default(), clock::now())?;
        let market = ServerProcess::start("serve-market", dir, threads, "warn").await?;
        let mut parties = Vec::new();
        for number in 0..SELLERS {
            parties.push(issue(&mut pki, &format!("seller-{number}"), Role::Seller)?);
        }
        let configs = parties.iter().map(|party| ClientConfig::new(market.address.into(), party.files()));
        let inboxes = Inboxes::open(configs.collect()).await?;
        let mut items = Vec::new();
        for (party, port) in parties.iter().zip(&inboxes.ports) {
            let seller = connect(party, &market).await?;
            items.extend(open_shop(&seller, *port).await?);
        }
        let buyers = registered_buyers(&mut pki, &market).await?;
        Ok(Self { _market: market, buyers, items, bought: Arc::default(), inboxes, _folder: folder })
    }

    /// Measures both phases, each of this duration.
    pub(super) async fn measure(&self, duration: Duration) -> anyhow::Result<Rates> {
        let began = (Instant::now(), self.inboxes.received());
        self.inboxes.places.add_permits(BACKLOG);
        self.buy(duration, true).await?;
        let sustained = self.rate_since(began);
        self.settle().await?;
        let began = (Instant::now(), self.inboxes.received());
        let purchases = self.buy(duration, false).await?;
        let meanwhile = self.rate_since(began);
        self.settle().await?;
        Ok(Rates { purchases, meanwhile, sustained })
    }

    fn rate_since(&self, (began, received): (Instant, u64)) -> f64 {
        (self.inboxes.received() - received) as f64 / began.elapsed().as_secs_f64()
    }

    /// Buys for some time, and returns the purchases per second.
    async fn buy(&self, duration: Duration, waits: bool) -> anyhow::Result<f64> {
        let (items, places) = (self.items.clone(), Arc::clone(&self.inboxes.places));
        let bought = Arc::clone(&self.bought);
        let measured = load::run(&self.buyers, duration, move |buyer, number| {
            let item = items[workload::spread(number) % items.len()];
            let (places, bought) = (Arc::clone(&places), Arc::clone(&bought));
            async move {
                if waits {
                    // `count` adds it again when a notice arrives.
                    places.acquire().await?.forget();
                }
                let outcome = workload::buy(buyer, item).await?;
                if outcome == CallOutcome::CarriedOut {
                    bought.fetch_add(1, Ordering::Relaxed);
                } else if waits {
                    places.add_permits(1);
                }
                Ok(outcome)
            }
        });
        Ok(measured.await?.calls_per_second())
    }

    /// Waits until every purchase has been reported to its seller.
    async fn settle(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.inboxes.received() < self.bought.load(Ordering::Relaxed) {
            ensure!(
                Instant::now() < deadline,
                "{} of {} notices arrived within {PATIENCE:?}",
                self.inboxes.received(),
                self.bought.load(Ordering::Relaxed)
            );
            sleep(LOOK).await;
        }
        let left = self.inboxes.places.available_permits();
        self.inboxes.places.forget_permits(left);
        Ok(())
    }
}

async fn open_shop(seller: &Connection, port: u16) -> anyhow::Result<Vec<i64>> {
    let callback = Some(v1::CallbackAddress { host: String::new(), port: port.into() });
    let display_name = format!("seller {}", seller.party());
    seller.call(v1::RegisterSellerRequest { display_name, callback, ..Default::default() }).await?;
    let items = stream::iter(0..ITEMS_EACH).then(|number| async move {
        let item = Some(draft(&format!("thing {number}"), "home", 1_250, STOCK));
        let listed = seller.call(v1::SellItemRequest { item, ..Default::default() }).await?;
        anyhow::Ok(listed.item.context("an item")?.item_id)
    });
    items.try_collect().await
}

/// The sellers' callback servers, on a thread of their own.
struct Inboxes {
    ports: Vec<u16>,
    received: Arc<AtomicU64>,
    /// A permit for each purchase that may be made before more notices have arrived.
    places: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Inboxes {
    async fn open(configs: Vec<ClientConfig>) -> anyhow::Result<Self> {
        let (received, places) = (Arc::<AtomicU64>::default(), Arc::new(Semaphore::new(0)));
        let stop = CancellationToken::new();
        let (opened, open) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (counter, given, stopped) = (Arc::clone(&received), Arc::clone(&places), stop.clone());
        thread::Builder::new().name("callbacks".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let mut inboxes = Vec::new();
                for config in &configs {
                    match open_one(config, &counter, &given).await {
                        Ok(inbox) => inboxes.push(inbox),
                        Err(error) => {
                            // The receiver is dropped only if the whole run is.
                            let _ = opened.send(Err(error));
                            return;
                        }
                    }
                }
                let _ = opened.send(Ok(inboxes.iter().map(|inbox| inbox.address().port()).collect()));
                stopped.cancelled().await;
            });
        })?;
        Ok(Self { ports: open.await??, received, places, stop })
    }

    fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl Drop for Inboxes {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn open_one(
    config: &ClientConfig,
    received: &Arc<AtomicU64>,
    places: &Arc<Semaphore>,
) -> anyhow::Result<Inbox> {
    let credentials = Credentials::load(&config.credentials, &config.trust_domain, clock::now())?;
    let socket = Inbox::bind(([127, 0, 0, 1], 0).into()).await?;
    let (inbox, notices) = Inbox::open(socket, &credentials, Seen::in_memory())?;
    tokio::spawn(count(notices, Arc::clone(received), Arc::clone(places)));
    Ok(inbox)
}

async fn count(mut notices: mpsc::Receiver<Notice>, received: Arc<AtomicU64>, places: Arc<Semaphore>) {
    while let Some(notice) = notices.recv().await {
        if let Notice::Event(delivery) = notice
            && matches!(delivery.take().kind, Some(Kind::OrderPlaced(_)))
        {
            received.fetch_add(1, Ordering::Relaxed);
            places.add_permits(1);
        }
    }
}
