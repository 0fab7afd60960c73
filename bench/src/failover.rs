//! `bench failover`: two markets on a primary with a synchronous standby, under load. The primary is killed, or hangs, the
//! standby takes its place, and afterwards everything that was acknowledged is looked for.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use souk_client::Connection;
use souk_domain::Totals;
use souk_proto::v1;
use souk_store::postgres::{self, PostgresOptions};
use souk_testkit::database::DatabaseServer;
use tokio::{task::JoinSet, time::sleep};

use crate::database::{Markets, SETTINGS, ran};

/// Lose the primary database under two markets and promote its synchronous standby; prove that nothing is lost
#[derive(Args)]
pub(crate) struct FailoverArgs {
    /// How long to trade before and after, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How many purchases are under way at a time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    clients: u16,
    /// Let the primary hang, taking connections and answering nothing, instead of killing it.
    #[arg(long)]
    freeze: bool,
    /// How often to do it all.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

/// Sellers, items, and units of each.
const SCENE: (usize, usize, i64) = (4, 40, 1_000);
/// So many items are wanted by every second purchase, and run out.
const WANTED: usize = 2;
/// After this, trade must go on.
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// How long one attempt at a purchase may take before the other market is asked.
const ATTEMPT: Duration = Duration::from_secs(4);
/// How long a purchase is tried at all.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
/// What the standby is called.
const STANDBY: &str = "standby";
/// How often the standby is looked for.
const STANDBY_LOOK: Duration = Duration::from_millis(50);

pub(crate) async fn run(args: FailoverArgs) -> anyhow::Result<()> {
    for _ in 0..args.rounds {
        let ended = round(&args).await?;
        println!(
            "acked={} lost={} duplicated={} oversold={}; {} sold out; back after {:.1} s, for each client after {:.1} s",
            ended.acked,
            ended.lost,
            ended.duplicated,
            ended.oversold,
            ended.refused,
            ended.back.as_secs_f64(),
            ended.back_for_all.as_secs_f64()
        );
        let is_kept = ended.lost == 0 && ended.duplicated == 0 && ended.oversold == 0;
        ensure!(is_kept, "the promise was broken");
        ensure!(ended.back_for_all <= BACK_WITHIN, "trade went on too late");
    }
    Ok(())
}

struct Ended {
    acked: usize,
    lost: usize,
    duplicated: i64,
    oversold: i64,
    refused: usize,
    /// After the loss of the primary: until the first order that was asked for and acknowledged, and until the first answer
    /// to the client that waited longest for one.
    back: Duration,
    back_for_all: Duration,
}

/// What one client came to.
#[derive(Default)]
struct Bought {
    orders: Vec<v1::Order>,
    refused: usize,
    /// Of a purchase that was begun after the kill.
    first_after: Option<Instant>,
    /// The same, sold out or bought.
    served_after: Option<Instant>,
}

async fn round(args: &FailoverArgs) -> anyhow::Result<Ended> {
    let primary = DatabaseServer::start(&SETTINGS)?;
    ran(primary.program("createdb").args(["--encoding=UTF8", "--template=template0", "souk"]))?;
    let cluster = format!("cluster_name = '{STANDBY}'");
    let standby = primary.start_standby(STANDBY, &[&cluster])?;
    wait_for(&primary)?;
    let address = primary.address("souk", Some(&standby));
    let markets = Markets::open(&address, 0, "error", SCENE).await?;
    let (stop, killed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let mut trade = JoinSet::new();
    for client in 0..usize::from(args.clients) {
        let [first, second] = &markets.buyers;
        let place = client % first.len();
        let both = [&first[place], &second[place]].map(|connection| connection.with_timeout(ATTEMPT));
        trade.spawn(buy_on(both, markets.items.clone(), client, Arc::clone(&stop), Arc::clone(&killed)));
    }
    let stretch = Duration::from_secs(args.seconds);
    sleep(stretch).await;
    let kill = Instant::now();
    if args.freeze {
        primary.freeze()?
    } else {
        primary.kill()?
    }
    killed.store(true, Ordering::SeqCst);
    standby.promote()?;
    sleep(stretch).await;
    stop.store(true, Ordering::SeqCst);
    let mut all = Vec::new();
    while let Some(bought) = trade.join_next().await {
        all.push(bought??);
    }
    let back = all.iter().filter_map(|bought| bought.first_after).min().context("nobody bought again")?;
    let last = all.iter().filter_map(|bought| bought.served_after).max().context("nobody was served")?;
    let totals = totals(&standby).await?;
    let (lost, duplicated, oversold) = audit(&markets, &all, totals).await?;
    let acked = all.iter().map(|bought| bought.orders.len()).sum();
    let refused = all.iter().map(|bought| bought.refused).sum();
    let (back, back_for_all) = (back - kill, last - kill);
    Ok(Ended { acked, lost, duplicated, oversold, refused, back, back_for_all })
}

/// Makes the primary wait for its standby, once that follows.
fn wait_for(primary: &DatabaseServer) -> anyhow::Result<()> {
    primary.set("synchronous_standby_names", STANDBY)?;
    let deadline = Instant::now() + BACK_WITHIN;
    let is_followed = "TABLE pg_stat_replication";
    while !primary.psql("postgres", is_followed).map_err(anyhow::Error::msg)?.contains("|sync|") {
        if Instant::now() > deadline {
            bail!("the standby does not follow");
        }
        std::thread::sleep(STANDBY_LOOK);
    }
    Ok(())
}

/// Buys until told to stop, and until it was served after the kill. Every purchase is seen through with its request id, at one
/// market or the other.
async fn buy_on(
    both: [Connection; 2],
    items: Vec<i64>,
    client: usize,
    stop: Arc<AtomicBool>,
    killed: Arc<AtomicBool>,
) -> anyhow::Result<Bought> {
    let mut bought = Bought::default();
    let mut number = client;
    while !stop.load(Ordering::SeqCst) || bought.served_after.is_none() {
        number += 1;
        let among = if number.is_multiple_of(2) { &items[..WANTED] } else { &items[WANTED..] };
        let request = v1::BuyItemRequest {
            request_id: both[0].request_id(),
            item_id: among[number / 2 % among.len()],
            quantity: 1,
            ..Default::default()
        };
        let (began, is_after) = (Instant::now(), killed.load(Ordering::SeqCst));
        for attempt in client.. {
            let sent = both[attempt % 2].call(request.clone());
            match sent.await {
                Ok(answer) => {
                    bought.orders.push(answer.order.context("an order")?);
                    if is_after {
                        bought.first_after.get_or_insert_with(Instant::now);
                    }
                    break;
                }
                Err(souk_client::Error::Refused(refusal))
                    if refusal.reason() == Some(souk_proto::Reason::OutOfStock) =>
                {
                    bought.refused += 1;
                    break;
                }
                Err(failure) if began.elapsed() > PATIENCE => bail!("a purchase found no end: {failure}"),
                Err(_) => sleep(PAUSE).await,
            }
        }
        if is_after {
            bought.served_after.get_or_insert_with(Instant::now);
        }
    }
    Ok(bought)
}

async fn totals(standby: &DatabaseServer) -> anyhow::Result<Totals> {
    let reads = postgres::open_reads(&standby.address("souk", None), &PostgresOptions::default()).await?;
    Ok(reads.totals().await?)
}

/// Looks for every acknowledged order, and compares the sums. Every request was seen through, so there must be as many
/// orders as acknowledgements.
async fn audit(markets: &Markets, all: &[Bought], totals: Totals) -> anyhow::Result<(usize, i64, i64)> {
    let buyers: HashMap<String, &Connection> =
        markets.buyers[1].iter().map(|buyer| (buyer.party().to_string(), buyer)).collect();
    let (mut lost, mut numbers) = (0, HashSet::new());
    for order in all.iter().flat_map(|bought| &bought.orders) {
        numbers.insert(order.order_id);
        let buyer = buyers.get(&order.buyer_id).context("a buyer")?;
        let request = v1::GetOrderRequest { order_id: order.order_id };
        let kept = buyer.call(request).await;
        if kept.ok().and_then(|kept| kept.order).as_ref() != Some(order) {
            lost += 1;
        }
    }
    let acked: usize = all.iter().map(|bought| bought.orders.len()).sum();
    let twice = i64::try_from(acked - numbers.len())?;
    let duplicated = twice + (totals.orders - i64::try_from(numbers.len())?).max(0);
    let oversold =
        (totals.sold + totals.remaining - totals.supplied).abs() + (totals.sold - totals.ordered).abs();
    Ok((lost, duplicated, oversold))
}
