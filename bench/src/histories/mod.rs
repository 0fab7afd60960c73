//! `bench histories`: many clients buy few items while connections are cut and the market is killed. The history of each
//! item is then checked for linearizability, and its rating against the purchases that allow it.

mod checker;
mod clients;
mod rater;
mod ratings;
mod recorder;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use souk_certs::identity::Role;
use souk_client::Connection;
use souk_proto::v1;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    proxy::Proxy,
    site::{Site, until},
    trade::{Arrivals, Listener, open_shop},
};
use checker::Verdict;
use clients::Hall;
use rater::Rater;
use ratings::Ratings;
use recorder::Recorder;

/// Check that purchases are linearizable while connections are cut and the market is killed
#[derive(Args)]
pub(crate) struct HistoriesArgs {
    /// Number of operations to record.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    ops: u64,
    /// Seed of the random numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The number of buyers, each with one call at a time, and of items, each with a seller that restocks it and a buyer that
/// rates it.
const BUYERS: usize = 20;
const ITEMS: usize = 4;
/// Units of each item at first.
const STOCK: i64 = 10;
/// One connection is cut after each so many operations, and the market is killed after so many.
const OPS_PER_CUT: u64 = 50;
const OPS_PER_KILL: u64 = 2_500;
/// A cut happens within so many forwarded bytes.
const CUT_WITHIN_BYTES: u64 = 2_000;
/// Deadline for the operations between two cuts.
const PATIENCE: Duration = Duration::from_secs(60);
/// Deadline for the sellers' notifications, which tell the stock after each order.
const DELIVERY_PATIENCE: Duration = Duration::from_secs(180);
/// From this length on, a history must have the required shares of refusals and unknown outcomes.
const FULL_LENGTH: u64 = 100_000;
const MIN_REFUSED: f64 = 0.2;
const MIN_UNKNOWN: f64 = 0.01;
/// How often to look whether the notifications have all come.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) async fn run(args: HistoriesArgs) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(args.seed);
    let mut site = Site::new().await?;
    site.start().await?;
    let proxy = Proxy::open(site.address).await?;
    let arrivals = Arrivals::default();
    let (mut sellers, mut items, mut listeners) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..ITEMS {
        let (seller, config) = site.connect(&format!("seller-{number}"), Role::Seller, proxy.address).await?;
        let listener = Listener::open(&config, arrivals.clone()).await?;
        let callback = v1::CallbackAddress { host: String::new(), port: listener.port().into() };
        items.push(open_shop(&seller, number, Some(callback), STOCK).await?);
        sellers.push(seller);
        listeners.push(listener);
    }
    let hall = Arc::new(Hall {
        recorder: Recorder::new(),
        items: items.clone(),
        stop: AtomicBool::new(false),
        ratings: Ratings::default(),
    });
    let mut running = JoinSet::new();
    for (number, (seller, item)) in sellers.into_iter().zip(&items).enumerate() {
        let buyer = registered(&mut site, &proxy, &format!("rater {number}")).await?;
        let rater = Rater::new(Arc::clone(&hall), buyer, seller.clone(), *item, random.random());
        running.spawn(rater.run());
        running.spawn(clients::restock(Arc::clone(&hall), seller, *item, random.random()));
    }
    for number in 0..BUYERS {
        let buyer = registered(&mut site, &proxy, &format!("buyer {number}")).await?;
        running.spawn(clients::buy(Arc::clone(&hall), buyer, random.random()));
    }
    let deaths = disturb(&args, &mut site, &proxy, &hall, &mut running, &mut random).await?;
    hall.stop.store(true, Ordering::SeqCst);
    while let Some(ended) = running.join_next().await {
        ended.context("a client panicked")??;
    }
    wait_for_notifications(&hall, &arrivals).await;
    site.stop().await?;
    report(&args, &hall, &deaths, &arrivals, proxy.cuts())
}

/// Registers a buyer.
async fn registered(site: &mut Site, proxy: &Proxy, name: &str) -> anyhow::Result<Connection> {
    let (buyer, _) = site.connect(&name.replace(' ', "-"), Role::Buyer, proxy.address).await?;
    let display_name = name.to_owned();
    buyer.call(v1::RegisterBuyerRequest { display_name, ..Default::default() }).await?;
    Ok(buyer)
}

/// Cuts connections and kills the market until there are enough operations. Returns the times of the kills.
async fn disturb(
    args: &HistoriesArgs,
    site: &mut Site,
    proxy: &Proxy,
    hall: &Hall,
    running: &mut JoinSet<anyhow::Result<()>>,
    random: &mut StdRng,
) -> anyhow::Result<Vec<u64>> {
    let operations = || hall.recorder.operations.load(Ordering::Relaxed);
    let (mut deaths, mut next_kill) = (Vec::new(), OPS_PER_KILL.min(args.ops / 2));
    while operations() < args.ops {
        let goal = operations() + OPS_PER_CUT;
        let goes_on = until(PATIENCE, || operations() >= goal).await;
        if let Some(ended) = running.try_join_next() {
            ended.context("a client panicked")??;
        }
        ensure!(goes_on, "the clients make no progress: {}", site.last_words());
        proxy.cut_after(random.random_range(0..CUT_WITHIN_BYTES));
        if operations() >= next_kill {
            next_kill += OPS_PER_KILL;
            site.kill().await?;
            // The process is gone now, so that nothing it received can still take effect.
            deaths.push(hall.recorder.now());
            site.disk.forget()?;
            site.start().await?;
        }
    }
    Ok(deaths)
}

/// Waits until the stock after each order is known. What does not come in time stays unknown to the check.
async fn wait_for_notifications(hall: &Hall, arrivals: &Arrivals) {
    let deadline = tokio::time::Instant::now() + DELIVERY_PATIENCE;
    while hall.recorder.unexplained(arrivals) > 0 && tokio::time::Instant::now() < deadline {
        sleep(LOOK).await;
    }
}

fn report(
    args: &HistoriesArgs,
    hall: &Hall,
    deaths: &[u64],
    arrivals: &Arrivals,
    cuts: u64,
) -> anyhow::Result<()> {
    let (mut violations, mut undecided) = (0, 0);
    for (item, history) in hall.recorder.histories(deaths, arrivals) {
        match checker::check(STOCK, &history) {
            Verdict::Linearizable => {}
            Verdict::Undecided => undecided += 1,
            Verdict::Violation(number) => {
                violations += 1;
                eprintln!("item {item}: no order of the operations explains {:?}", history[number]);
            }
        }
    }
    let recorder = &hall.recorder;
    let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let (ops, refusals, unknown) =
        (count(&recorder.operations), count(&recorder.refusals), count(&recorder.unknown));
    println!(
        "ops={ops} refusals={refusals} unknown={unknown} violations={violations} undecided={undecided} ratings={} \
         wrong_ratings={}; clients={} items={ITEMS} left_open={} kills={} connections_cut={cuts} without_event={}",
        hall.ratings.checked(),
        hall.ratings.wrong(),
        BUYERS + 2 * ITEMS,
        recorder.left_open(),
        deaths.len(),
        recorder.unexplained(arrivals),
    );
    ensure!(violations == 0 && undecided == 0, "purchases are not linearizable, or it could not be decided");
    ensure!(hall.ratings.wrong() == 0, "ratings do not last as long as the purchases that allow them");
    let share = |count: u64| count as f64 / ops as f64;
    ensure!(
        args.ops < FULL_LENGTH || (share(refusals) >= MIN_REFUSED && share(unknown) >= MIN_UNKNOWN),
        "too few refusals or unknown outcomes"
    );
    Ok(())
}
