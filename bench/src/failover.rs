//! `bench failover`: puts load on two markets on a primary with a synchronous standby. The primary is killed or
//! hangs, the standby is promoted, and afterwards every acknowledged order is looked up.

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

/// Kill the primary database of two markets, promote its synchronous standby, and verify that nothing is lost
#[derive(Args)]
pub(crate) struct FailoverArgs {
    /// Duration of the load before and after the failover, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Number of concurrent purchases.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    clients: u16,
    /// Freeze the primary, so that it accepts connections but does not respond, instead of killing it.
    #[arg(long)]
    freeze: bool,
    /// Number of failovers, each with new servers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

/// Number of sellers, number of items, and units of each item.
const SCENE: (usize, usize, i64) = (4, 40, 1_000);
/// Number of items that share half of the purchases. They sell out, which shows whether any is oversold.
const WANTED: usize = 2;
/// Every client must be served again within this time after the loss of the primary (promise G13).
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// Timeout of one attempt at a purchase, after which the other market is tried.
const ATTEMPT: Duration = Duration::from_secs(4);
/// Time after which a purchase that still fails ends the run.
const PATIENCE: Duration = Duration::from_secs(90);
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
/// The standby's cluster name.
const STANDBY: &str = "standby";
/// How often the primary is asked whether the standby follows it.
const STANDBY_LOOK: Duration = Duration::from_millis(50);

pub(crate) async fn run(args: FailoverArgs) -> anyhow::Result<()> {
    for _ in 0..args.rounds {
        let ended = round(&args).await?;
        println!(
            "acked={} lost={} duplicated={} oversold={}; {} sold out; first order after {:.1} s, every client served after {:.1} s",
            ended.acked,
            ended.lost,
            ended.duplicated,
            ended.oversold,
            ended.refused,
            ended.back.as_secs_f64(),
            ended.back_for_all.as_secs_f64()
        );
        let is_kept = ended.lost == 0 && ended.duplicated == 0 && ended.oversold == 0;
        ensure!(is_kept, "orders were lost, duplicated or oversold");
        ensure!(ended.back_for_all <= BACK_WITHIN, "not every client was served within {BACK_WITHIN:?}");
    }
    Ok(())
}

struct Ended {
    acked: usize,
    lost: usize,
    duplicated: i64,
    oversold: i64,
    refused: usize,
    /// Time from the loss of the primary to the first acknowledgement of an order placed after it.
    back: Duration,
    /// Time from the loss of the primary until every client has had a response to a call made after it.
    back_for_all: Duration,
}

/// The results of one client.
#[derive(Default)]
struct Bought {
    orders: Vec<v1::Order>,
    refused: usize,
    /// When the first order placed after the kill was acknowledged.
    first_after: Option<Instant>,
    /// When the first purchase started after the kill was answered, whether with an order or as sold out.
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
    let load_time = Duration::from_secs(args.seconds);
    sleep(load_time).await;
    let kill = Instant::now();
    if args.freeze {
        primary.freeze()?
    } else {
        primary.kill()?
    }
    killed.store(true, Ordering::SeqCst);
    standby.promote()?;
    sleep(load_time).await;
    stop.store(true, Ordering::SeqCst);
    let mut all = Vec::new();
    while let Some(bought) = trade.join_next().await {
        all.push(bought??);
    }
    let back = all.iter().filter_map(|bought| bought.first_after).min();
    let back = back.context("no order was placed after the failover")?;
    let last = all.iter().filter_map(|bought| bought.served_after).max();
    let last = last.context("no client was served after the failover")?;
    let totals = totals(&standby).await?;
    let (lost, duplicated, oversold) = audit(&markets, &all, totals).await?;
    let acked = all.iter().map(|bought| bought.orders.len()).sum();
    let refused = all.iter().map(|bought| bought.refused).sum();
    let (back, back_for_all) = (back - kill, last - kill);
    Ok(Ended { acked, lost, duplicated, oversold, refused, back, back_for_all })
}

/// Makes the primary's commits wait for the standby, and waits until replication is synchronous. Only from then on is
/// every acknowledged order on both servers.
fn wait_for(primary: &DatabaseServer) -> anyhow::Result<()> {
    primary.set("synchronous_standby_names", STANDBY)?;
    let deadline = Instant::now() + BACK_WITHIN;
    let is_followed = "TABLE pg_stat_replication";
    while !primary.psql("postgres", is_followed).map_err(anyhow::Error::msg)?.contains("|sync|") {
        if Instant::now() > deadline {
            bail!("the standby did not start to follow the primary within {BACK_WITHIN:?}");
        }
        std::thread::sleep(STANDBY_LOOK);
    }
    Ok(())
}

/// Buys until `stop` is set and a purchase has been answered after the kill. Each purchase is retried with the same
/// request id, alternating between the markets, until its outcome is known.
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
                Err(failure) if began.elapsed() > PATIENCE => {
                    bail!("a purchase still fails after {PATIENCE:?}: {failure}")
                }
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

/// Looks up every acknowledged order and compares the totals. Returns the numbers of lost and duplicated orders and
/// of oversold units. The outcome of every request is known, so there must be exactly as many orders as
/// acknowledgements.
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
