//! The honest client: two buyers who search, look, buy and connect, and the seller who is notified of each order. It
//! runs on a thread of its own, so that nothing but the machine slows it down.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use souk_certs::{clock, connector::dial_error, credentials::Credentials};
use souk_client::{ClientConfig, Connection};
use souk_proto::v1;
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use super::template::{Template, config};
use crate::{
    site::until,
    trade::{Arrivals, Listener},
};

/// What it does, each with a worker of its own.
pub(super) const KINDS: [&str; 4] = ["search", "get", "buy", "connect"];
/// A worker's pause between two calls.
const PACE: Duration = Duration::from_millis(20);
/// Time for the last notifications to arrive.
const NOTICE_PATIENCE: Duration = Duration::from_secs(5);
const LONGEST_MICROS: u64 = 60_000_000;

/// How much the honest client does.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// Calls of all kinds together, at least.
    pub(super) calls: u64,
    /// How long it goes on, at least and at most.
    pub(super) least: Duration,
    pub(super) most: Duration,
    /// The deadline of a call.
    pub(super) deadline: Duration,
    /// Whether a connection that could not be opened is tried again until the deadline: a dial has a shorter one.
    pub(super) redials: bool,
}

/// The outcome of the calls.
pub(super) struct Served {
    pub(super) kinds: Vec<Tally>,
    /// Orders whose seller was not notified.
    pub(super) missing: usize,
    /// Why the seller's callback address could not be registered, if so.
    unregistered: Option<String>,
    pub(super) took: Duration,
}

/// The calls of one kind.
pub(super) struct Tally {
    pub(super) calls: u64,
    pub(super) failed: u64,
    pub(super) failure: Option<String>,
    pub(super) micros: Histogram<u64>,
}

impl Served {
    pub(super) fn calls(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.calls).sum()
    }

    /// Returns the share of calls that were answered in time. An order without its notification counts as a failure.
    pub(super) fn ok(&self) -> f64 {
        let failed = self.kinds.iter().map(|kind| kind.failed).sum::<u64>();
        let failed = failed + self.missing as u64 + u64::from(self.unregistered.is_some());
        1.0 - failed as f64 / self.calls().max(1) as f64
    }

    /// Returns why a call failed, for the report.
    pub(super) fn failure(&self) -> Option<String> {
        let mut of_kinds = KINDS.iter().zip(&self.kinds);
        let call = of_kinds.find_map(|(name, kind)| Some(format!("{name}: {}", kind.failure.as_ref()?)));
        let call = call.or_else(|| self.unregistered.as_ref().map(|error| format!("register: {error}")));
        call.or_else(|| (self.missing > 0).then(|| format!("{} notifications did not arrive", self.missing)))
    }
}

/// An honest client that has connected and registered.
pub(super) struct Honest {
    /// Where the seller is called back.
    pub(super) callback: SocketAddr,
    begin: oneshot::Sender<()>,
    served: oneshot::Receiver<anyhow::Result<Served>>,
}

impl Honest {
    /// Connects to a market.
    pub(super) async fn enter(template: &Template, market: SocketAddr, plan: Plan) -> anyhow::Result<Self> {
        let configs = Configs {
            seller: config(&template.seller, market),
            buyers: template.buyers.each_ref().map(|buyer| config(buyer, market)),
            item: template.item,
        };
        let ((entered, wait), (begin, begun)) = (oneshot::channel(), oneshot::channel());
        let (done, served) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("honest".into()).spawn(move || {
            // A send fails only if the driver has given up.
            runtime.block_on(async move {
                match Client::enter(configs).await {
                    Err(error) => drop(entered.send(Err(error))),
                    Ok(client) => {
                        let callback = ([127, 0, 0, 1], client.listener.port()).into();
                        let is_awaited = entered.send(Ok(callback)).is_ok() && begun.await.is_ok();
                        if is_awaited {
                            let _ = done.send(Arc::new(client).measure(plan).await);
                        }
                    }
                }
            });
        })?;
        let callback = wait.await.context("the honest client panicked")??;
        Ok(Self { callback, begin, served })
    }

    /// Makes the calls.
    pub(super) async fn measure(self) -> anyhow::Result<Served> {
        let _ = self.begin.send(());
        self.served.await.context("the honest client panicked")?
    }
}

struct Configs {
    seller: ClientConfig,
    buyers: [ClientConfig; 2],
    item: i64,
}

struct Client {
    selling: Connection,
    looking: Connection,
    buying: Connection,
    config: ClientConfig,
    credentials: Credentials,
    item: i64,
    listener: Listener,
    arrivals: Arrivals,
    bought: Mutex<HashSet<(i64, bool)>>,
}

impl Client {
    async fn enter(Configs { seller, buyers: [bob, carol], item }: Configs) -> anyhow::Result<Self> {
        let arrivals = Arrivals::default();
        let listener = Listener::open(&seller, arrivals.clone()).await?;
        let selling = Connection::open(&seller).await?;
        let credentials = Credentials::load(&carol.credentials, &carol.trust_domain, clock::now())?;
        let (looking, buying) = (Connection::open(&bob).await?, Connection::open(&carol).await?);
        // Their tokens are fetched before the attack, so that only `connect` fetches one.
        selling.call(v1::GetItemRequest { item_id: item }).await?;
        looking.call(v1::GetItemRequest { item_id: item }).await?;
        buying.call(v1::GetItemRequest { item_id: item }).await?;
        let bought = Mutex::default();
        Ok(Self { selling, looking, buying, config: carol, credentials, item, listener, arrivals, bought })
    }

    async fn measure(self: Arc<Self>, plan: Plan) -> anyhow::Result<Served> {
        let (began, calls) = (Instant::now(), Arc::<AtomicU64>::default());
        let unregistered = self.register().await.err().map(|error| error.to_string());
        let mut workers = JoinSet::new();
        for kind in 0..KINDS.len() {
            let (client, calls) = (Arc::clone(&self), Arc::clone(&calls));
            workers.spawn(async move { anyhow::Ok((kind, client.work(kind, plan, &calls).await?)) });
        }
        let mut kinds = Vec::new();
        while let Some(done) = workers.join_next().await {
            kinds.push(done??);
        }
        kinds.sort_by_key(|(kind, _)| *kind);
        let took = began.elapsed();
        let bought = std::mem::take(&mut *self.bought.lock().unwrap_or_else(PoisonError::into_inner));
        until(NOTICE_PATIENCE, || self.arrivals.missing(&bought) == 0).await;
        let missing = self.arrivals.missing(&bought);
        Ok(Served { kinds: kinds.into_iter().map(|(_, tally)| tally).collect(), missing, unregistered, took })
    }

    /// Registers the seller's callback server. Under attack, so that the market has to connect to it under attack.
    async fn register(&self) -> Result<(), souk_client::Error> {
        let callback = v1::CallbackAddress { host: String::new(), port: self.listener.port().into() };
        let display_name = "alice".to_owned();
        let request =
            v1::RegisterSellerRequest { display_name, callback: Some(callback), ..Default::default() };
        self.selling.call(request).await.map(|_| ())
    }

    async fn work(&self, kind: usize, plan: Plan, all: &AtomicU64) -> anyhow::Result<Tally> {
        let micros = Histogram::new_with_bounds(1, LONGEST_MICROS, 3)?;
        let mut tally = Tally { calls: 0, failed: 0, failure: None, micros };
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let began = Instant::now();
        let is_over = |all: &AtomicU64| {
            let is_enough = all.load(Ordering::Relaxed) >= plan.calls && began.elapsed() >= plan.least;
            is_enough || began.elapsed() >= plan.most
        };
        while !is_over(all) {
            pace.tick().await;
            let sent = Instant::now();
            let outcome = match timeout(plan.deadline, self.call(kind, plan.redials)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(anyhow::anyhow!("no answer within {:?}", plan.deadline)),
            };
            tally.calls += 1;
            all.fetch_add(1, Ordering::Relaxed);
            match outcome {
                Ok(()) => tally.micros.saturating_record(u64::try_from(sent.elapsed().as_micros())?),
                Err(error) => {
                    tally.failed += 1;
                    tally.failure.get_or_insert(format!("{error:#}"));
                }
            }
        }
        Ok(tally)
    }

    /// Makes one call, without retries.
    async fn call(&self, kind: usize, redials: bool) -> anyhow::Result<()> {
        let get = v1::GetItemRequest { item_id: self.item };
        match KINDS[kind] {
            "search" => {
                let query = "reading lamp".to_owned();
                let request = v1::SearchItemRequest { query, page_size: 10, ..Default::default() };
                self.looking.catalog().search_item(request).await?;
            }
            "get" => drop(self.looking.catalog().get_item(get).await?),
            "buy" => {
                let request = v1::BuyItemRequest {
                    request_id: self.buying.request_id(),
                    item_id: self.item,
                    quantity: 1,
                    ..Default::default()
                };
                let bought = self.buying.buyer().buy_item(request).await?.into_inner();
                let order = bought.order.context("an order")?.order_id;
                self.bought.lock().unwrap_or_else(PoisonError::into_inner).insert((order, false));
            }
            _ => {
                let fresh = Connection::with_credentials(&self.config, &self.credentials)?;
                while let Err(status) = fresh.catalog().get_item(get).await {
                    if !redials || dial_error(&status).is_none() {
                        return Err(status.into());
                    }
                }
            }
        }
        Ok(())
    }
}
