//! `bench smoke`: the ratios of `compare`, `search` and `growth` at small sizes, with bounds that only a gross mistake
//! exceeds, such as a search that reads every item of every page. It takes less than a minute, also with a debug build.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use clap::Args;

use crate::{
    compare::measured,
    figures::{Bound, Report},
    fixture::Fixture,
    load::median_millis,
    made_up::Catalogue,
    search::{DEEP_PAGE, common_word, mixed_median, nth_page, timed},
    stocked::StockedMarket,
    workload::Workload,
};

/// Check that no ratio is grossly wrong
///
/// Takes less than a minute. Fails if a ratio exceeds its bound.
#[derive(Args)]
pub(crate) struct SmokeArgs {
    /// Number of items; a tenth of them is measured first.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(10_000..=1_000_000))]
    items: u64,
}

/// Duration of each workload.
const FOR: Duration = Duration::from_millis(1_000);
/// Server threads.
const THREADS: usize = 2;
/// Repeats of the first page and of the one far behind.
const REPEATS: usize = 20;
/// The most server CPU of a call compared with that of the echo server.
const TO_ECHO: [(Workload, f64); 3] =
    [(Workload::Guarded, 4.0), (Workload::BuyUniform, 15.0), (Workload::Search, 60.0)];
/// The most that ten times the items may cost, and a page far behind compared with the first.
const TENFOLD: f64 = 6.0;
const DEEP_TO_FIRST: f64 = 4.0;

pub(crate) async fn run(args: SmokeArgs) -> anyhow::Result<()> {
    let mut report = Report::of("smoke");
    calls(&mut report).await?;
    searches(&mut report, args.items).await?;
    ensure!(report.finish(None)?, "a ratio is grossly wrong");
    Ok(())
}

async fn calls(report: &mut Report) -> anyhow::Result<()> {
    let fixture = Fixture::set(&std::env::current_exe()?, THREADS, "warn").await?;
    // The first calls open the connections.
    measured(&fixture, Workload::Echo, FOR / 4).await?;
    let echo = measured(&fixture, Workload::Echo, FOR).await?.cpu_micros;
    for (workload, most) in TO_ECHO {
        measured(&fixture, workload, FOR / 4).await?;
        let row = measured(&fixture, workload, FOR).await?;
        println!("{}", row.in_words());
        let name = format!("{} ÷ echo, server CPU", workload.as_str());
        report.judge(name, &[row.cpu_micros / echo], Bound::AtMost(most));
    }
    Ok(())
}

async fn searches(report: &mut Report, items: u64) -> anyhow::Result<()> {
    let (catalogue, program) = (Arc::new(Catalogue::new()), std::env::current_exe()?);
    let mut market = StockedMarket::open(&program, "serve-market", THREADS, Arc::clone(&catalogue)).await?;
    let buyer = market.buyers().await?.swap_remove(0);
    market.stock(items / 10).await?;
    let small = mixed_median(&buyer, &market).await?;
    let took = market.stock(items).await?;
    println!("imported {items} items at {:.0} rows/s", (items - items / 10) as f64 / took.as_secs_f64());
    let large = mixed_median(&buyer, &market).await?;
    report.judge(
        format!("mixed words, {items} ÷ {} items", items / 10),
        &[large / small],
        Bound::AtMost(TENFOLD),
    );
    let first = common_word(&catalogue);
    let deep = nth_page(&buyer, first.clone(), DEEP_PAGE).await?;
    let mut medians = [0.0; 2];
    for (median, request) in medians.iter_mut().zip([first, deep]) {
        *median = median_millis(REPEATS, async || Ok(timed(&buyer, request.clone()).await?.0)).await?;
    }
    report.judge("search, page 100 ÷ page 1", &[medians[1] / medians[0]], Bound::AtMost(DEEP_TO_FIRST));
    market.stop().await
}
