//! `bench compare`: runs all workloads in every round, so that a temporary slowdown of the machine affects all of
//! them and cancels out in their ratios.

mod many_items;
mod notices;
mod python;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::ensure;
use clap::Args;

use crate::{
    database,
    figures::{Report, at_least},
    fixture::Fixture,
    load::{self, CONNECTIONS, IN_FLIGHT, Measurement},
    process::{ServerProcess, server_threads},
    report::{self, Row},
    workload::{self, Workload, spread},
};
use notices::Notified;
use python::PythonMarket;

/// Measure echo, guarded, unguarded, buy and search in paired rounds, and print their ratios with the targets
///
/// Also measures notices to sellers with callbacks, a market in Python, and a market with many items. With --against,
/// measures the servers of an older build instead, and prints the ratio of the cost per call and of imported rows.
#[derive(Args)]
pub(crate) struct CompareArgs {
    /// Number of rounds; each runs every workload once [default: 5, or 7 with --against].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Duration of each workload in each round, in seconds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Number of server threads; 0 means one per core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Log level of the servers, which log to a file; "info" writes one line per call.
    #[arg(long, default_value = "warn")]
    log: String,
    /// Store of the markets; "postgres" measures purchases at one and two markets on one database, against pgbench.
    #[arg(long, value_enum, default_value_t = StoreKind::Sqlite)]
    store: StoreKind,
    /// Older build of this program, whose servers are measured alternately with this build's, under this build's
    /// load.
    #[arg(long, value_name = "BINARY", conflicts_with = "store")]
    against: Option<PathBuf>,
    /// Number of items that are imported for the searches of many items, and for the comparison of imports; 0 skips
    /// both.
    #[arg(long, default_value_t = 1_000_000)]
    items: u64,
    /// Python with the packages of clients/python/requirements.txt, for the market in Python [default: that of
    /// clients/test.sh, or python3].
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// File for the results as JSON, for `bench chart`.
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    json: Option<PathBuf>,
}

/// The store of the markets under load.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum StoreKind {
    /// SQLite, one file per market.
    Sqlite,
    /// PostgreSQL, one database for two markets.
    Postgres,
}

/// Default number of rounds without `--against`.
const ROUNDS: u32 = 5;

/// Minimum number of rounds with `--against`. On a shared machine, a median of fewer is not reliable.
const MIN_PAIRED_ROUNDS: u32 = 7;

/// Imports of each build with `--against`.
const IMPORT_PAIRS: u32 = 3;
/// The least rates, as ratios: of purchases to those of the market in Python, of notices to purchases, of searches for
/// a rare word to guarded calls, and of imports to those of an older build; each with what it would be at best.
const TO_PYTHON: (f64, f64) = (8.0, 12.0);
const NOTICES: (f64, f64) = (0.5, 1.0);
const RARE_TO_GUARDED: (f64, f64) = (0.5, 0.7);
const IMPORT_TO_OLDER: (f64, f64) = (1.5, 2.0);

/// Duration of each workload before the first round, which opens connections and fills caches.
const WARM_UP: Duration = Duration::from_millis(500);

pub(crate) async fn run(args: CompareArgs) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let threads = server_threads(args.threads)?;
    let rounds = args.rounds.unwrap_or(if args.against.is_some() { MIN_PAIRED_ROUNDS } else { ROUNDS });
    if args.store == StoreKind::Postgres {
        return database::compare(rounds, Duration::from_secs(args.seconds), threads, &args.log).await;
    }
    println!(
        "{cores} cores shared by server and load; {threads} server threads; {CONNECTIONS} connections × {IN_FLIGHT} \
         in flight; {rounds} rounds × {} s; log level {}",
        args.seconds, args.log
    );
    let duration = Duration::from_secs(args.seconds);
    let program = std::env::current_exe()?;
    let mut report = Report::of("compare");
    match &args.against {
        Some(older) => {
            ensure!(rounds >= MIN_PAIRED_ROUNDS, "give --rounds {MIN_PAIRED_ROUNDS} or more with --against");
            paired((&program, older), (threads, &args.log), (rounds, duration)).await?;
            against_older(&mut report, (&program, older), threads, args.items).await?;
        }
        None => {
            let python = args.python.as_deref();
            alone(&mut report, &program, (threads, &args.log), (rounds, duration), python).await?;
            report.skip("imported rows/s ÷ those of an older build", "name one by --against BINARY");
            notices_to_purchases(&mut report, threads, rounds, duration).await?;
            search_many_items(&mut report, &program, threads, (args.items, rounds, duration)).await?;
        }
    }
    report.finish(args.json.as_deref())?;
    Ok(())
}

async fn alone(
    report: &mut Report,
    program: &Path,
    (threads, log): (usize, &str),
    (rounds, duration): (u32, Duration),
    python: Option<&Path>,
) -> anyhow::Result<()> {
    let fixture = warmed_up(program, threads, log).await?;
    let python = PythonMarket::start(python).await?;
    if let Some(python) = &python {
        python.buy(WARM_UP).await?;
    }
    let (mut measured_rounds, mut to_python) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let mut rows = Vec::new();
        for workload in Workload::ALL {
            let row = measured(&fixture, workload, duration).await?;
            println!("round {round}: {}", row.in_words());
            rows.push(row);
        }
        if let Some(python) = &python {
            let rate = python.buy(duration).await?.calls_per_second();
            println!("round {round}: {:<12} {rate:>8.0} calls/s", "buy (Python)");
            let uniform = rows.iter().find(|row| row.workload == Workload::BuyUniform);
            to_python.extend(uniform.map(|row| row.calls_per_second / rate));
        }
        measured_rounds.push(rows);
    }
    report::judge(report, &measured_rounds);
    let name = "buy uniform ÷ market in Python, calls/s";
    match python {
        Some(_) => report.judge(name, &to_python, at_least(TO_PYTHON)),
        None => report.skip(name, "no Python with grpcio; see clients/python/README.md, or give --python"),
    }
    Ok(())
}

async fn notices_to_purchases(
    report: &mut Report,
    threads: usize,
    rounds: u32,
    duration: Duration,
) -> anyhow::Result<()> {
    let notified = Notified::start(threads).await?;
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let rates = notified.measure(duration).await?;
        println!(
            "round {round}: {} sellers with callbacks: purchases {:.0}/s with {:.0} notices/s, sustained {:.0}/s",
            notices::SELLERS,
            rates.purchases,
            rates.meanwhile,
            rates.sustained
        );
        ratios.push(rates.sustained / rates.purchases);
    }
    report.judge("notices sustained ÷ purchases, 1/s", &ratios, at_least(NOTICES));
    Ok(())
}

async fn search_many_items(
    report: &mut Report,
    program: &Path,
    threads: usize,
    (items, rounds, duration): (u64, u32, Duration),
) -> anyhow::Result<()> {
    let name = format!("search ÷ guarded, calls/s, {items} items, rare word");
    if items == 0 {
        report.skip(&name, "give --items");
        return Ok(());
    }
    let (ratios, imported) =
        many_items::search_to_guarded(program, threads, items, (rounds, duration)).await?;
    println!("imported {items} items at {imported:.0} rows/s");
    report.judge(name, &ratios, at_least(RARE_TO_GUARDED));
    Ok(())
}

async fn against_older(
    report: &mut Report,
    programs: (&Path, &Path),
    threads: usize,
    rows: u64,
) -> anyhow::Result<()> {
    let name = format!("import of {rows} rows, rows/s, ÷ older build");
    if rows == 0 {
        report.skip(&name, "give --items");
        return Ok(());
    }
    let ratios = many_items::import_to_older(programs, threads, (rows, IMPORT_PAIRS)).await?;
    report.judge(name, &ratios, at_least(IMPORT_TO_OLDER));
    Ok(())
}

/// Runs each workload on both builds, one directly after the other, so that a temporary slowdown affects both. The
/// order alternates with the round, so that neither build always benefits from going second.
async fn paired(
    (program, older): (&Path, &Path),
    (threads, log): (usize, &str),
    (rounds, duration): (u32, Duration),
) -> anyhow::Result<()> {
    let fixture = warmed_up(program, threads, log).await?;
    let older = warmed_up(older, threads, log).await?;
    let mut pairs = Vec::new();
    for round in 1..=rounds {
        for workload in Workload::ALL {
            let pair = if round % 2 == 0 {
                let now = measured(&fixture, workload, duration).await?;
                (now, measured(&older, workload, duration).await?)
            } else {
                let before = measured(&older, workload, duration).await?;
                (measured(&fixture, workload, duration).await?, before)
            };
            println!("round {round}, this build: {}", pair.0.in_words());
            println!("round {round}, older:      {}", pair.1.in_words());
            pairs.push(pair);
        }
    }
    report::print_pairs(&pairs);
    Ok(())
}

async fn warmed_up(program: &Path, threads: usize, log: &str) -> anyhow::Result<Fixture> {
    let fixture = Fixture::set(program, threads, log).await?;
    for workload in Workload::ALL {
        measure(&fixture, workload, WARM_UP).await?;
    }
    Ok(fixture)
}

/// Runs a workload, and measures the CPU time of its server.
pub(crate) async fn measured(
    fixture: &Fixture,
    workload: Workload,
    duration: Duration,
) -> anyhow::Result<Row> {
    let server = server(fixture, workload);
    let before = server.cpu_seconds()?;
    let measured = measure(fixture, workload, duration).await?;
    let used = server.cpu_seconds()? - before;
    Ok(Row {
        workload,
        calls_per_second: measured.calls_per_second(),
        refused: measured.refused as f64 / (measured.calls + measured.refused).max(1) as f64,
        cpu_micros: used * 1e6 / measured.calls as f64,
        p50_micros: measured.latency_micros.value_at_quantile(0.5),
        p99_micros: measured.latency_micros.value_at_quantile(0.99),
    })
}

fn server(fixture: &Fixture, workload: Workload) -> &ServerProcess {
    match workload {
        Workload::Echo => &fixture.echo,
        Workload::Unguarded => &fixture.unguarded,
        _ => &fixture.market,
    }
}

async fn measure(fixture: &Fixture, workload: Workload, duration: Duration) -> anyhow::Result<Measurement> {
    let items = fixture.items.clone();
    match workload {
        Workload::Echo => load::run(&fixture.echo_clients, duration, |c, _| workload::who_am_i(c)).await,
        Workload::Guarded => load::run(&fixture.buyers, duration, |c, _| workload::who_am_i(c)).await,
        Workload::Unguarded => {
            load::run(&fixture.unguarded_clients, duration, |c, _| workload::who_am_i(c)).await
        }
        Workload::Search => load::run(&fixture.buyers, duration, workload::search).await,
        Workload::BuyHot => {
            let item = items[0];
            load::run(&fixture.buyers, duration, move |c, _| workload::buy(c, item)).await
        }
        Workload::BuyUniform => {
            load::run(&fixture.buyers, duration, move |c, number| {
                workload::buy(c, items[spread(number) % items.len()])
            })
            .await
        }
    }
}
