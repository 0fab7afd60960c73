//! `bench sync`: repeatedly cuts a till's stream, restarts the till and kills the market. Afterwards it verifies that
//! every line took effect exactly once and every sale was reported exactly once.

mod shop;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use clap::Args;
use futures::stream;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use souk_authority::pki::{InitOptions, IssueOptions, Pki};
use souk_certs::{clock, identity::Role};
use souk_client::{ClientConfig, Connection};
use souk_proto::v1::{self, import_items_request::Message};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{process::ServerProcess, proxy::Proxy};

use shop::{Shop, sku};

/// Cut a till's stream at random points, and verify that no line and no sale is lost or duplicated
#[derive(Args)]
pub(crate) struct SyncArgs {
    /// Number of connections to cut.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    cut: u64,
    /// Seed of the random numbers; the same seed cuts at the same byte counts.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Lines that the till may send per cut.
const LINES_PER_CUT: i64 = 40;
/// A cut happens within this many bytes after the stream was reopened: about the size of those lines and their
/// acknowledgements.
const CUT_WITHIN_BYTES: u64 = 3_000;
/// With at least this many cuts, some must have happened between a line and its acknowledgement.
const ENOUGH_CUTS: u64 = 100;
/// The till is restarted at every third cut.
const TILL_DIES_EVERY: u64 = 3;
/// At every 25th cut, the market is killed instead of the connection being cut.
const MARKET_DIES_EVERY: u64 = 25;
/// Number of items that buyers buy. They are not among the items whose stock the till changes.
const GOODS: usize = 4;
const STOCK: i64 = 1_000_000;
/// Pause between two purchases of a buyer.
const PAUSE: Duration = Duration::from_millis(5);
/// Timeout for one cut, and for everything to be acknowledged at the end.
const PATIENCE: Duration = Duration::from_secs(120);
/// Timeout of calls, long enough for the market to be killed and restarted.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
const THREADS: usize = 2;

pub(crate) async fn run(args: SyncArgs) -> anyhow::Result<()> {
    let began = Instant::now();
    let folder = tempfile::tempdir()?;
    let mut pki = Pki::init(&folder.path().join("pki"), &InitOptions::default(), clock::now())?;
    let mut market = start(folder.path()).await?;
    let (line, quiet) = (Proxy::open(market.address).await?, Proxy::open(market.address).await?);
    let seller = connect(&mut pki, "seller", Role::Seller, &quiet).await?;
    let buyer = connect(&mut pki, "buyer", Role::Buyer, &quiet).await?;
    let lines = i64::try_from(args.cut).context("cuts")? * LINES_PER_CUT;
    let goods = set_up(&seller, &buyer, lines).await?;
    let shop = Shop::new(connect(&mut pki, "seller", Role::Seller, &line).await?);

    // Open the till first: it receives only sales made after it was created.
    shop.catch_up().await?;
    let stop = CancellationToken::new();
    let shopping = tokio::spawn(shopping(buyer, goods, args.seed, stop.clone()));
    let mut random = StdRng::seed_from_u64(args.seed);
    let (limit, limited) = watch::channel(0);
    let (mut deaths, mut kills) = (0, 0);
    {
        let mut life = Box::pin(shop.live(limited.clone()));
        for cut in 1..=args.cut {
            limit.send_modify(|limit| *limit += LINES_PER_CUT);
            let (resumed, within) = (shop.disk().resumed, random.random_range(0..CUT_WITHIN_BYTES));
            let falls = async {
                // Cutting a stream that has not resumed yet would test nothing.
                until(|| shop.disk().resumed > resumed || cut == 1).await;
                let (cuts, passed) = (line.cuts(), line.passed());
                if cut % MARKET_DIES_EVERY == 0 {
                    until(|| line.passed() > passed + within).await;
                    kills += 1;
                    market.kill().await?;
                    market = start(folder.path()).await?;
                    line.point_at(market.address);
                    quiet.point_at(market.address);
                } else {
                    line.cut_after(within);
                    until(|| line.cuts() > cuts).await;
                }
                anyhow::Ok(())
            };
            tokio::select! {
                ended = &mut life => ended.context("the till ended too early")?,
                fallen = timeout(PATIENCE, falls) => fallen.context("the stream carries no data to cut")??,
            }
            if cut % TILL_DIES_EVERY == 0 {
                deaths += 1;
                life = Box::pin(shop.live(limited.clone()));
            }
        }
        drop((limit, limited));
        timeout(PATIENCE, life).await.context("not all lines were acknowledged in time")??;
    }
    stop.cancel();
    shopping.await??;
    timeout(PATIENCE, shop.catch_up()).await.context("not all sales arrived in time")??;
    let cuts = line.cuts() + kills;
    ensure!(cuts >= args.cut, "only {cuts} cuts happened");
    println!(
        "{cuts} cuts, {deaths} restarts of the till, {kills} of the market in {:.0} s",
        began.elapsed().as_secs_f64()
    );
    settle(&seller, &shop, lines).await?;
    let disk = shop.disk();
    let (answers, events) = (disk.repeated_answers, disk.repeated_events);
    println!("{answers} acknowledgements and {events} events arrived again and were recognised as repeated");
    ensure!(answers > 0 || args.cut < ENOUGH_CUTS, "no cut happened between a line and its acknowledgement");
    Ok(())
}

async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        sleep(Duration::from_millis(1)).await;
    }
}

async fn start(folder: &Path) -> anyhow::Result<ServerProcess> {
    ServerProcess::start("serve-market", folder, THREADS, "warn").await
}

async fn connect(pki: &mut Pki, name: &str, role: Role, by: &Proxy) -> anyhow::Result<Connection> {
    let party = match pki.find(name) {
        Ok(party) => party,
        Err(_) => pki.issue(name, role, &IssueOptions::default(), clock::now())?,
    };
    let config = ClientConfig::new(by.address.into(), party.files());
    Ok(Connection::open(&config).await?.with_timeout(CALL_TIMEOUT))
}

/// Registers both parties, lists one item for each line, and lists the goods. Returns the goods' ids.
async fn set_up(seller: &Connection, buyer: &Connection, lines: i64) -> anyhow::Result<Vec<i64>> {
    let request = v1::RegisterSellerRequest { display_name: "seller".to_owned(), ..Default::default() };
    seller.call(request).await?;
    let request = v1::RegisterBuyerRequest { display_name: "buyer".to_owned(), ..Default::default() };
    buyer.call(request).await?;
    let header = Message::Header(v1::ImportHeader::default());
    let rows = (1..=lines).map(|line| Message::Row(row(line, sku(line), 1)));
    let messages = [header].into_iter().chain(rows);
    let messages = messages.map(|message| v1::ImportItemsRequest { message: Some(message) });
    let imported = seller.seller().import_items(stream::iter(messages.collect::<Vec<_>>())).await?;
    ensure!(imported.get_ref().created_count == lines, "{imported:?}");
    let mut goods = Vec::new();
    for number in 0..GOODS {
        let item = row(0, format!("good-{number}"), STOCK).item;
        let request = v1::SellItemRequest { item, ..Default::default() };
        let listed = seller.call(request).await?;
        goods.push(listed.item.context("an item")?.item_id);
    }
    Ok(goods)
}

fn row(line: i64, sku: String, quantity: i64) -> v1::ImportRow {
    let item = v1::ItemDraft {
        name: Some(sku.clone()),
        sku: Some(sku),
        category: Some("things".into()),
        unit_price: Some(v1::Money { amount_minor: 100, currency_code: "GBP".into() }),
        quantity: Some(quantity),
        description: None,
    };
    v1::ImportRow { line, item_id: 0, item: Some(item) }
}

/// Buys, and cancels about every third order, until `stop` is cancelled.
async fn shopping(
    buyer: Connection,
    goods: Vec<i64>,
    seed: u64,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    while !stop.is_cancelled() {
        let item_id = goods[random.random_range(0..goods.len())];
        let request =
            v1::BuyItemRequest { item_id, quantity: random.random_range(1..4), ..Default::default() };
        let bought = buyer.call(request).await?;
        let order_id = bought.order.context("an order")?.order_id;
        if random.random_range(0..3) == 0 {
            let request = v1::CancelOrderRequest { order_id, ..Default::default() };
            buyer.call(request).await?;
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Compares what the till has stored with what the market has.
async fn settle(seller: &Connection, shop: &Shop, lines: i64) -> anyhow::Result<()> {
    let (mut lost, mut doubled) = (0, 0);
    let mut exported = seller.seller().export_items(v1::ExportItemsRequest {}).await?.into_inner();
    let mut found = 0;
    while let Some(message) = exported.message().await? {
        let item = message.item.context("an item")?;
        if item.sku.starts_with("line-") {
            found += 1;
            // One unit was listed, and the item's line added one.
            lost += i64::from(item.quantity < 2);
            doubled += i64::from(item.quantity > 2);
        }
    }
    ensure!(found == lines, "only {found} of {lines} items exist");
    let mut reported = std::mem::take(&mut shop.disk().events);
    let (mut sales, mut cancelled, mut page_token) = (0_u64, 0_u64, String::new());
    loop {
        let request = v1::ListSalesRequest { page_size: 200, page_token, ..Default::default() };
        let page = seller.call(request).await?;
        for order in &page.orders {
            let is_cancelled = order.status() == v1::OrderStatus::Cancelled;
            sales += 1;
            cancelled += u64::from(is_cancelled);
            for key in [Some((order.order_id, false)), is_cancelled.then_some((order.order_id, true))] {
                let times = key.map_or(1, |key| reported.remove(&key).unwrap_or(0));
                lost += i64::from(times == 0);
                doubled += i64::from(times > 1);
            }
        }
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    let disk = shop.disk();
    let unanswered = (1..=lines).filter(|line| disk.answers.get(line) != Some(&1)).count();
    println!("{lines} lines, {unanswered} of them not acknowledged exactly once, {} rejected", disk.refused);
    println!(
        "{sales} sales and {cancelled} cancellations, and {} reported that do not exist",
        reported.len()
    );
    println!("lost={lost} doubled={doubled}");
    ensure!(
        lost == 0 && doubled == 0 && unanswered == 0 && disk.refused == 0 && reported.is_empty(),
        "lines or sales were lost, duplicated or rejected"
    );
    Ok(())
}
