//! `bench growth`: what grows with the market, and how fast.
//!
//! By items: a market grows tenfold at a time, together with its buyers, orders and wishes, and is measured at each
//! size. By orders (`--orders`): only these grow. Purchases are those of many buyers over few connections, at a market
//! that lets a call act as any buyer; everything else is as usual.

mod crowd;
mod step;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Args;
use souk_proto::v1;

use crate::{
    figures::{Bound, Report, Table, at_most},
    load::{median_millis, server_time},
    made_up::Catalogue,
    process::server_threads,
    search::{MEMORY_MB, PAGE, TENFOLD},
    stocked::StockedMarket,
};
use crowd::{Crowd, acting};
use step::{Figures, Growth, REPEATS, last_year, measure};

/// Measure a market while its items, parties, orders and wishes grow
///
/// Prints whether anything except the disk and the index grows faster than the logarithm of the number of items. With
/// --orders, only orders grow.
#[derive(Args)]
pub(crate) struct GrowthArgs {
    /// Number of items at the end. There are a tenth as many orders, and a hundredth as many buyers, who all wish for
    /// the same item.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1_000..=20_000_000))]
    to: u64,
    /// Number of items at the beginning.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    from: u64,
    /// Number of orders to place instead, on 10,000 items.
    #[arg(long, conflicts_with_all = ["to", "from"])]
    orders: Option<u64>,
    /// Number of orders between two measurements.
    #[arg(long, default_value_t = 1_000_000, requires = "orders", value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// Number of server threads; 0 means one per core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// File for the results as JSON, for `bench chart`.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Items for each order and for each buyer.
const ITEMS_PER_ORDER: u64 = 10;
const ITEMS_PER_BUYER: u64 = 100;
/// By how much more than the logarithm a figure may change, because measurements differ from one run to the next.
const NOISE: f64 = 1.25;
/// The most that a page far behind costs compared with the first.
const DEEP_TO_FIRST: f64 = 1.5;
/// Items on which only orders grow, and the most buyers.
const ORDERED_ITEMS: u64 = 10_000;
const MOST_BUYERS: u64 = 100_000;
/// The most that a call costs after all orders compared with the first of them.
const TO_THE_FIRST: f64 = 1.2;

pub(crate) async fn run(args: GrowthArgs) -> anyhow::Result<()> {
    let threads = server_threads(args.threads)?;
    let program = std::env::current_exe()?;
    let market = StockedMarket::open(&program, "serve-anyone", threads, Arc::new(Catalogue::new())).await?;
    let report = match args.orders {
        Some(orders) => by_orders(market, orders, args.every).await?,
        None => by_items(market, args.from, args.to).await?,
    };
    report.finish(args.json.as_deref())?;
    Ok(())
}

async fn by_items(mut market: StockedMarket, from: u64, to: u64) -> anyhow::Result<Report> {
    let mut crowd = Crowd::new(market.buyers().await?);
    let mut sizes = Vec::new();
    let mut next = from.min(to);
    let mut wished = None;
    loop {
        let before = market.items;
        let took = market.stock(next).await?;
        // An item of the first seller.
        let wished = match wished {
            Some(item) => item,
            None => *wished.insert(first_item(&market).await?),
        };
        crowd.grow((next / ITEMS_PER_BUYER).max(1), wished).await?;
        crowd.order((next / ITEMS_PER_ORDER).max(1), market.items).await?;
        market.stop().await?;
        let started = market.start().await?;
        crowd.reconnect(market.buyers().await?);
        let mut figures = measure(&market, &crowd, wished).await?;
        let imported = (next - before) as f64 / took.as_secs_f64();
        figures.push(("imported rows/s", Growth::Rate, imported));
        figures.push(("start, s", Growth::Cost, started.as_secs_f64()));
        println!("{next} items, {} buyers, {} orders: measured", crowd.size, crowd.orders);
        sizes.push((next, figures));
        if next >= to {
            break;
        }
        next = (next * 10).min(to);
    }
    market.stop().await?;
    let mut report = Report::of(format!("growth --to {to}"));
    report.table(table(&sizes));
    judge(&mut report, &sizes);
    Ok(report)
}

/// Returns the first item of the first seller.
async fn first_item(market: &StockedMarket) -> anyhow::Result<i64> {
    let seller = market.sellers().await?.swap_remove(0);
    let request = v1::DisplaySellerItemsRequest { page_size: 1, ..Default::default() };
    let listed = seller.call(request).await?;
    Ok(listed.items.first().context("the first seller has no item")?.item_id)
}

fn table(sizes: &[(u64, Figures)]) -> Table {
    let columns: Vec<_> = sizes.iter().map(|(size, _)| size.to_string()).collect();
    let columns: Vec<_> = columns.iter().map(String::as_str).collect();
    let mut table = Table::new("growth", "by number of items", &columns);
    for (name, ..) in sizes.first().map(|(_, figures)| figures.as_slice()).unwrap_or_default() {
        table.row(*name, sizes.iter().map(|(_, figures)| figure(figures, name)).collect());
    }
    table
}

fn figure(figures: &Figures, of: &str) -> Option<f64> {
    figures.iter().find_map(|(name, _, value)| (*name == of).then_some(*value))
}

fn judge(report: &mut Report, sizes: &[(u64, Figures)]) {
    let ([(least, first), ..], Some((most, last))) = (sizes, sizes.last()) else { return };
    if sizes.len() < 2 {
        report.skip("growth", "there is only one size; give a larger --to");
        return;
    }
    // What a cost that is proportional to the logarithm would be multiplied by.
    let allowed = (*most as f64).ln() / (*least as f64).ln() * NOISE;
    for (name, growth, before) in first {
        let Some(after) = figure(last, name) else { continue };
        let ratio = match growth {
            Growth::Cost => after / before,
            Growth::Rate => before / after,
            Growth::Free => continue,
        };
        let inverse = if *growth == Growth::Rate { ", inverse" } else { "" };
        report.judge(format!("{name}: last ÷ first{inverse}"), &[ratio], Bound::AtMost(allowed));
    }
    let name = "mixed words, counts known, server ms";
    if let [.., (_, before), (_, after)] = sizes
        && let (Some(before), Some(after)) = (figure(before, name), figure(after, name))
    {
        report.judge(format!("{name}: last ÷ one before"), &[after / before], at_most(TENFOLD));
    }
    for (name, first, deep) in [
        ("search, page 100 ÷ page 1", "search, page 1, server ms", "search, page 100, server ms"),
        ("ListOrders, page 100 ÷ page 1", "ListOrders, page 1, server ms", "ListOrders, page 100, server ms"),
    ] {
        if let (Some(first), Some(deep)) = (figure(last, first), figure(last, deep)) {
            report.judge(name, &[deep / first], Bound::AtMost(DEEP_TO_FIRST));
        }
    }
    if let Some(memory) = figure(last, "anonymous memory, MB") {
        report.judge(format!("anonymous memory at {most} items, MB"), &[memory], at_most(MEMORY_MB));
    }
}

async fn by_orders(mut market: StockedMarket, orders: u64, every: u64) -> anyhow::Result<Report> {
    market.stock(ORDERED_ITEMS).await?;
    let mut crowd = Crowd::new(market.buyers().await?);
    let wished = first_item(&market).await?;
    crowd.grow((orders / ITEMS_PER_ORDER).clamp(1_000, MOST_BUYERS), wished).await?;
    let (seller, buyer) = (market.sellers().await?.swap_remove(0), crowd.connection(0).clone());
    let mut report = Report::of(format!("growth --orders {orders}"));
    let columns = ["buy µs CPU", "buy/s", "list ms", "summary ms", "KB/order", "memory MB"];
    let mut table = Table::new("orders", "by number of orders", &columns);
    let mut rows: Vec<[f64; 3]> = Vec::new();
    let mut store = market.sizes()?.store;
    while crowd.orders < orders {
        let (before, began) = (market.server()?.cpu_seconds()?, std::time::Instant::now());
        let from = crowd.orders;
        let placed = crowd.order(orders.min(from + every), market.items).await? as f64;
        let seconds = began.elapsed().as_secs_f64();
        let cpu = (market.server()?.cpu_seconds()? - before) * 1e6 / placed;
        let list = async || -> anyhow::Result<Duration> {
            let request = v1::ListOrdersRequest { page_size: PAGE, ..Default::default() };
            server_time(&buyer.buyer().list_orders(acting(0, request)?).await?)
        };
        let list = median_millis(REPEATS, list).await?;
        let summary = async || server_time(&seller.seller().summarize_sales(last_year()).await?);
        let summary = median_millis(REPEATS, summary).await?;
        let grown = market.sizes()?.store;
        let kilobytes = grown.saturating_sub(store) as f64 / placed / 1e3;
        store = grown;
        let memory = crate::search::memory(&market)?;
        println!(
            "{} orders   buy {cpu:.1} µs   list {list:.3} ms   summary {summary:.3} ms   store {kilobytes:.1} KB/order",
            crowd.orders
        );
        let values = [cpu, placed / seconds, list, summary, kilobytes, memory];
        table.row(crowd.orders.to_string(), values.map(Some).to_vec());
        rows.push([cpu, list, summary]);
    }
    report.table(table);
    let names = ["purchase, server CPU", "ListOrders of a buyer with many", "SummarizeSales of a year"];
    for (column, name) in names.into_iter().enumerate() {
        if let (Some(first), Some(last)) = (rows.first(), rows.last()) {
            let ratio = last[column] / first[column];
            report.judge(format!("{name}: last ÷ first"), &[ratio], Bound::AtMost(TO_THE_FIRST));
        }
    }
    market.stop().await?;
    Ok(report)
}
