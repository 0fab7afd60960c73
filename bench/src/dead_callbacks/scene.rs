//! A market with live sellers, whose notices are measured, and with many others, whose callbacks are dead or missing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use souk_certs::identity::Role;
use souk_client::Connection;
use souk_proto::v1;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

use super::silent::SilentServer;
use crate::{
    site::{Site, until},
    trade::{Arrivals, Listener, open_shop},
};

/// The number of live sellers, each with a buyer of its own.
const LIVE: usize = 4;
/// The time between two purchases of a buyer.
const PACE: Duration = Duration::from_millis(20);
/// The time between two carts that put an order into the mailboxes of the others, and their number of orders.
const FEED_PACE: Duration = Duration::from_millis(500);
const CART: usize = 100;
/// Units of each item, more than a run buys.
const STOCK: i64 = 1_000_000;
/// Deadline for the notices of a phase.
const PATIENCE: Duration = Duration::from_secs(60);
/// Upper bound of the histograms in microseconds.
const LONGEST_MICROS: u64 = 120_000_000;

/// A market and its parties.
pub(super) struct Scene {
    site: Site,
    /// The live sellers' items and their buyers.
    live: Vec<(i64, Connection)>,
    arrivals: Arrivals,
    feeder: Connection,
    /// The items of the other sellers.
    others: Vec<i64>,
    _listeners: Vec<Listener>,
    _silent: Vec<SilentServer>,
}

/// What a phase measured.
pub(super) struct Phase {
    pub(super) notices: u64,
    pub(super) missing: u64,
    pub(super) notice_p99: Duration,
    pub(super) purchase_p99: Duration,
}

impl Scene {
    /// Sets up a market with `endpoints` other sellers. If `are_dead`, they have callbacks that never answer, otherwise
    /// none.
    pub(super) async fn open(endpoints: usize, are_dead: bool) -> anyhow::Result<Self> {
        let mut site = Site::on_real_disk().await?;
        site.start().await?;
        let address = site.address;
        let (arrivals, mut live, mut listeners) = (Arrivals::default(), Vec::new(), Vec::new());
        for number in 0..LIVE {
            let (seller, config) = site.connect(&format!("live-{number}"), Role::Seller, address).await?;
            let listener = Listener::open(&config, arrivals.clone()).await?;
            let callback = v1::CallbackAddress { host: String::new(), port: listener.port().into() };
            let item = open_shop(&seller, number, Some(callback), STOCK).await?;
            let (buyer, _) = site.connect(&format!("buyer-{number}"), Role::Buyer, address).await?;
            register(&buyer, number).await?;
            live.push((item, buyer));
            listeners.push(listener);
        }
        let (mut others, mut silent) = (Vec::new(), Vec::new());
        for number in 0..endpoints {
            let (seller, config) = site.connect(&format!("other-{number}"), Role::Seller, address).await?;
            let mut callback = None;
            if are_dead {
                let server = SilentServer::open(&config).await?;
                callback = Some(v1::CallbackAddress { host: String::new(), port: server.port.into() });
                silent.push(server);
            }
            others.push(open_shop(&seller, LIVE + number, callback, STOCK).await?);
        }
        let (feeder, _) = site.connect("feeder", Role::Buyer, address).await?;
        register(&feeder, LIVE).await?;
        Ok(Self { site, live, arrivals, feeder, others, _listeners: listeners, _silent: silent })
    }

    /// Trades for some time.
    pub(super) async fn measure(&self, duration: Duration) -> anyhow::Result<Phase> {
        let stop = Arc::new(AtomicBool::new(false));
        let feeding = tokio::spawn(feed(self.feeder.clone(), self.others.clone(), Arc::clone(&stop)));
        let mut buying = JoinSet::new();
        for (item, buyer) in self.live.clone() {
            buying.spawn(buy(buyer, item, duration));
        }
        let mut bought = Vec::new();
        while let Some(ended) = buying.join_next().await {
            bought.extend(ended??);
        }
        stop.store(true, Ordering::SeqCst);
        feeding.await??;
        let is_missing = |purchase: &&Purchase| self.arrivals.arrival((purchase.order, false)).is_none();
        until(PATIENCE, || bought.iter().filter(is_missing).count() == 0).await;
        let mut notices = Histogram::<u64>::new_with_max(LONGEST_MICROS, 3)?;
        let mut purchases = notices.clone();
        let mut missing = 0;
        for purchase in &bought {
            purchases.saturating_record(micros(purchase.answered - purchase.began));
            match self.arrivals.arrival((purchase.order, false)) {
                // A notice may overtake the answer.
                Some(at) => notices.saturating_record(micros(at.saturating_duration_since(purchase.began))),
                None => missing += 1,
            }
        }
        ensure!(!bought.is_empty(), "nothing was bought: {}", self.site.last_words());
        Ok(Phase {
            notices: notices.len(),
            missing,
            notice_p99: Duration::from_micros(notices.value_at_quantile(0.99)),
            purchase_p99: Duration::from_micros(purchases.value_at_quantile(0.99)),
        })
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

struct Purchase {
    order: i64,
    began: Instant,
    answered: Instant,
}

async fn register(buyer: &Connection, number: usize) -> anyhow::Result<()> {
    let display_name = format!("buyer {number}");
    buyer.call(v1::RegisterBuyerRequest { display_name, ..Default::default() }).await?;
    Ok(())
}

/// Buys at a fixed pace.
async fn buy(buyer: Connection, item_id: i64, duration: Duration) -> anyhow::Result<Vec<Purchase>> {
    let end = Instant::now() + duration;
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut bought = Vec::new();
    while Instant::now() < end {
        pace.tick().await;
        let began = Instant::now();
        let answer = buyer.call(v1::BuyItemRequest { item_id, quantity: 1, ..Default::default() }).await?;
        let order = answer.order.context("an order")?.order_id;
        bought.push(Purchase { order, began, answered: Instant::now() });
    }
    Ok(bought)
}

/// Keeps the mailboxes of the other sellers filled.
async fn feed(feeder: Connection, items: Vec<i64>, stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    let mut pace = interval(FEED_PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for cart in items.chunks(CART).cycle() {
        pace.tick().await;
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let line =
            |item_id: &i64| v1::OrderLine { item_id: *item_id, quantity: 1, expected_unit_price: None };
        let lines = cart.iter().map(line).collect();
        feeder.call(v1::PlaceOrderRequest { lines, ..Default::default() }).await?;
    }
    Ok(())
}
