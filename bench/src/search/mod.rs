//! `bench search`: searches of a market with many made-up items, by kind of search, with the server time that the market
//! reports for each.
//!
//! *First* is a search that the market has not seen since its start, *known* the same one repeated, when its counts are
//! known. The market is started several times, so that there are several first searches of each kind.

mod asked;
mod peers;
mod times;
mod writes;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use hdrhistogram::Histogram;
use souk_client::Connection;

use crate::{
    figures::{Bound, Report, Table, at_most, median},
    load::histogram,
    made_up::Catalogue,
    process::server_threads,
    stocked::{Sizes, StockedMarket},
};
use asked::Class;
pub(crate) use asked::{DEEP_PAGE, PAGE, common_word, mixed_words, rare_words};
use peers::{Peer, PeerKind};
use times::{Times, micros, millis};
pub(crate) use times::{nth_page, timed};
use writes::{Writers, own_writes, with_items};

/// Measure searches of many made-up items, beside other search engines
#[derive(Args)]
pub(crate) struct SearchArgs {
    /// Number of items.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=20_000_000))]
    items: u64,
    /// Duration of each kind of search, in seconds, over all starts together.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Number of times that the market is started, each with a first search of each kind.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    starts: u32,
    /// Other search engines to fill with the same items and to measure, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<PeerKind>,
    /// Changes of items per second beside the searches.
    #[arg(long, default_value_t = 0)]
    writes: u32,
    /// Number of server threads; 0 means one per core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// File for the results as JSON, for `bench chart`.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The number of items for which the times of first searches have targets.
const JUDGED_ITEMS: u64 = 1_000_000;
/// Most milliseconds of a first search: median and 99th percentile. Each bound is followed by what it would be at best.
const FIRST_P50_MILLIS: (f64, f64) = (1.5, 0.7);
const FIRST_P99_MILLIS: (f64, f64) = (3.0, 1.5);
/// Most milliseconds of a search without words whose counts are known.
const BLANK_MILLIS: (f64, f64) = (0.2, 0.05);
/// The most that a search with known counts takes compared with one for a rare word.
const KNOWN_TO_RARE: f64 = 2.0;
/// The most that mixed words take compared with a tenth of the items.
pub(crate) const TENFOLD: (f64, f64) = (1.5, 1.2);
/// The most anonymous memory, in MB.
pub(crate) const MEMORY_MB: (f64, f64) = (600.0, 400.0);
/// Most milliseconds from an own write to the search that shows it, 99th percentile.
const OWN_WRITE_MILLIS: (f64, f64) = (20.0, 2.0);
/// The least speed of building the index compared with FTS5.
const BUILD_TO_FTS5: f64 = 2.0;
/// Searches that warm a market up after its start.
const WARM_UPS: usize = 200;

/// What was measured of the market itself.
struct Measured {
    imported: f64,
    built: Duration,
    sizes: Sizes,
    times: Vec<(Class, Times)>,
    starts: Vec<f64>,
    /// The most anonymous memory while searching, in MB.
    memory: f64,
    own_writes: Histogram<u64>,
    /// Mixed words with known counts: the median in milliseconds, with a tenth of the items and with all.
    mixed: [f64; 2],
    /// Changes beside the searches: per second, and failed.
    writes: (f64, u64),
}

pub(crate) async fn run(args: SearchArgs) -> anyhow::Result<()> {
    let catalogue = Arc::new(Catalogue::new());
    let measured = measure(&args, &catalogue).await?;
    let mut peers = Vec::new();
    for &kind in &args.peers {
        let (mut peer, built) = Peer::fill(kind, &catalogue, args.items).await.context(kind.as_str())?;
        let rate = args.items as f64 / built.as_secs_f64();
        println!(
            "{}: indexed {} items in {:.1} s ({rate:.0}/s)",
            kind.as_str(),
            args.items,
            built.as_secs_f64()
        );
        let mut medians = Vec::new();
        for class in Class::ALL {
            let searches = class.searches(&catalogue, args.items);
            let times = peer.measure(&searches, Duration::from_secs_f64(args.seconds)).await?;
            medians.push(times.as_ref().and_then(|times| millis(times, 0.5)));
        }
        peers.push((kind, rate, medians));
    }
    let mut command = format!("search --items {}", args.items);
    if args.writes > 0 {
        command += &format!(" --writes {}", args.writes);
    }
    if !args.peers.is_empty() {
        let names: Vec<_> = args.peers.iter().map(|kind| kind.as_str()).collect();
        command += &format!(" --peers {}", names.join(","));
    }
    let mut report = Report::of(command);
    report.table(beside(&args, &measured));
    report.table(table(&measured, &peers));
    judge(&mut report, &args, &measured, &peers);
    report.finish(args.json.as_deref())?;
    Ok(())
}

async fn measure(args: &SearchArgs, catalogue: &Arc<Catalogue>) -> anyhow::Result<Measured> {
    let threads = server_threads(args.threads)?;
    let program = std::env::current_exe()?;
    let mut market = StockedMarket::open(&program, "serve-market", threads, Arc::clone(catalogue)).await?;
    market.stock(args.items / 10).await?;
    // Merges of the index end with the market.
    market.stop().await?;
    market.start().await?;
    let small = mixed_median(&market.buyers().await?[0], &market).await?;
    let began_with = market.items;
    let took = market.stock(args.items).await?;
    let imported = (args.items - began_with) as f64 / took.as_secs_f64();
    market.stop().await?;
    market.delete_index()?;
    let built = market.start().await?;
    // It waits for merges.
    market.stop().await?;
    let sizes = market.sizes()?;
    let mut measured = Measured {
        imported,
        built,
        sizes,
        times: Class::ALL
            .into_iter()
            .map(|class| Ok((class, Times::new()?)))
            .collect::<anyhow::Result<_>>()?,
        starts: Vec::new(),
        memory: 0.0,
        own_writes: histogram()?,
        mixed: [small, 0.0],
        writes: (0.0, 0),
    };
    for number in 1..=args.starts {
        measured.starts.push(market.start().await?.as_secs_f64());
        one_start(args, &market, &mut measured).await?;
        if number == args.starts {
            measured.mixed[1] = mixed_median(&market.buyers().await?[0], &market).await?;
        }
        measured.memory = measured.memory.max(memory(&market)?);
        market.stop().await?;
    }
    Ok(measured)
}

/// Measures all classes after one start of the market.
async fn one_start(args: &SearchArgs, market: &StockedMarket, measured: &mut Measured) -> anyhow::Result<()> {
    let buyer = market.buyers().await?.swap_remove(0);
    // Other words than those that are measured.
    let others: Vec<_> =
        (0..WARM_UPS).map(|number| market.catalogue.word(100 + number * 7).to_owned()).collect();
    times::warm_up(&buyer, &others).await?;
    let sellers = with_items(market.sellers().await?).await?;
    let writers = (args.writes > 0).then(|| Writers::start(&sellers, args.writes));
    let duration = Duration::from_secs_f64(args.seconds / f64::from(args.starts));
    for (class, times) in &mut measured.times {
        times.measure(&buyer, &class.searches(&market.catalogue, market.items), duration).await?;
        measured.memory = measured.memory.max(memory(market)?);
    }
    let (seller, items) = &sellers[0];
    measured.own_writes.add(own_writes(seller, items).await?)?;
    if let Some(writers) = writers {
        let (changes, failures, seconds) = writers.stop();
        measured.writes = (changes as f64 / seconds, measured.writes.1 + failures);
    }
    Ok(())
}

/// Returns the median server time of mixed words whose counts are known, in milliseconds.
pub(crate) async fn mixed_median(buyer: &Connection, market: &StockedMarket) -> anyhow::Result<f64> {
    const FOR: Duration = Duration::from_secs(1);
    let requests = mixed_words(&market.catalogue, market.items);
    for request in &requests {
        timed(buyer, request.clone()).await?;
    }
    let (mut known, end) = (histogram()?, Instant::now() + FOR);
    // Whole rounds, so that every search counts alike.
    while Instant::now() < end {
        for request in &requests {
            known.saturating_record(micros(timed(buyer, request.clone()).await?.0));
        }
    }
    millis(&known, 0.5).context("no search")
}

/// Returns the market's anonymous memory, in MB.
pub(crate) fn memory(market: &StockedMarket) -> anyhow::Result<f64> {
    Ok(market.server()?.memory()?.anonymous as f64 / 1e6)
}

/// Prints what was measured beside the searches, and returns it as a table.
fn beside(args: &SearchArgs, measured: &Measured) -> Table {
    let Measured { imported, built, sizes, starts, own_writes, writes, .. } = measured;
    let (items, seconds) = (args.items as f64, built.as_secs_f64());
    let (per_second, bytes) = (items / seconds, sizes.index as f64 / items);
    println!(
        "built {} items in {seconds:.1} s ({per_second:.0}/s), {bytes:.0} bytes/item, {} segments",
        args.items, sizes.segments
    );
    let own = |quantile| millis(own_writes, quantile);
    let mut table = Table::new("beside", "beside the searches", &["measured"]);
    for (label, value) in [
        ("imported rows/s", Some(*imported)),
        ("index built, items/s", Some(per_second)),
        ("index, bytes per item", Some(bytes)),
        ("index, segments", Some(sizes.segments as f64)),
        ("store, bytes per item", Some(sizes.store as f64 / items)),
        ("start, s", Some(median(starts.iter().copied()))),
        ("anonymous memory while serving, at most MB", Some(measured.memory)),
        ("own write → own search, p50 ms", own(0.5)),
        ("own write → own search, p99 ms", own(0.99)),
        ("changes/s beside the searches", Some(writes.0)),
        ("of them failed, in all", Some(writes.1 as f64)),
    ] {
        table.row(label, vec![value]);
    }
    table
}

/// The medians of a peer, by class, with its kind and its rate of indexing.
type PeerTimes = (PeerKind, f64, Vec<Option<f64>>);

fn table(measured: &Measured, peers: &[PeerTimes]) -> Table {
    let mut columns = vec!["matches", "first p50", "first p99", "known p50", "known p99", "known ÷ rare"];
    for (kind, ..) in peers {
        columns.push(kind.as_str());
    }
    for (kind, ..) in peers {
        columns.push(match kind {
            PeerKind::Fts5 => "first ÷ fts5",
            PeerKind::Postgres => "first ÷ postgres",
        });
    }
    let mut table = Table::new("search", "server time in ms, one search at a time", &columns);
    let rare = known(measured, Class::Rare);
    for (row, (class, times)) in measured.times.iter().enumerate() {
        let matches = median(times.matches.iter().copied());
        // The first search of a deep page says nothing: the page before it has counted already.
        let first = |quantile| millis(&times.first, quantile).filter(|_| !class.is_deep());
        let p50 = millis(&times.known, 0.5);
        let mut values = vec![
            Some(matches),
            first(0.5),
            first(0.99),
            p50,
            millis(&times.known, 0.99),
            p50.map(|p50| p50 / rare),
        ];
        values.extend(peers.iter().map(|(.., medians)| medians[row]));
        values.extend(peers.iter().map(|(.., medians)| Some(first(0.5)? / medians[row]?)));
        table.row(class.as_str(), values);
    }
    table
}

fn times(measured: &Measured, of: Class) -> Option<&Times> {
    measured.times.iter().find_map(|(class, times)| (*class == of).then_some(times))
}

/// Returns the median of a class with known counts, in milliseconds.
fn known(measured: &Measured, of: Class) -> f64 {
    times(measured, of).and_then(|times| millis(&times.known, 0.5)).unwrap_or(f64::NAN)
}

fn judge(report: &mut Report, args: &SearchArgs, measured: &Measured, peers: &[PeerTimes]) {
    let by_words = [Class::Common, Class::TwoCommon, Class::ThreeCommon, Class::Beginning];
    if args.items <= JUDGED_ITEMS {
        for class in by_words {
            let first = |quantile| {
                let times = times(measured, class);
                times.and_then(|times| millis(&times.first, quantile)).unwrap_or(f64::NAN)
            };
            let name = |quantile| format!("{}, first page, {quantile} in ms", class.as_str());
            report.judge(name("p50"), &[first(0.5)], at_most(FIRST_P50_MILLIS));
            report.judge(name("p99"), &[first(0.99)], at_most(FIRST_P99_MILLIS));
        }
    }
    let rare = known(measured, Class::Rare);
    for class in by_words.into_iter().chain([Class::CommonInCategory]) {
        let name = format!("{} ÷ rare word, counts known", class.as_str());
        report.judge(name, &[known(measured, class) / rare], Bound::AtMost(KNOWN_TO_RARE));
    }
    for class in [Class::Blank, Class::BlankByPrice, Class::BlankDeep] {
        let name = format!("{}, counts known, p50 in ms", class.as_str());
        report.judge(name, &[known(measured, class)], at_most(BLANK_MILLIS));
    }
    let [small, all] = measured.mixed;
    let name = format!("{} ÷ {} items, mixed words, counts known", args.items, args.items / 10);
    report.judge(name, &[all / small], at_most(TENFOLD));
    report.judge("anonymous memory while serving, MB", &[measured.memory], at_most(MEMORY_MB));
    let own = millis(&measured.own_writes, 0.99).unwrap_or(f64::NAN);
    report.judge("own write → own search, p99 in ms", &[own], at_most(OWN_WRITE_MILLIS));
    let rate = args.items as f64 / measured.built.as_secs_f64();
    match peers.iter().find(|(kind, ..)| *kind == PeerKind::Fts5) {
        Some((_, fts5, _)) => {
            report.judge("index built ÷ FTS5, items/s", &[rate / fts5], Bound::AtLeast(BUILD_TO_FTS5))
        }
        None => report.skip("index built ÷ FTS5", "ask for it by --peers fts5"),
    }
}
