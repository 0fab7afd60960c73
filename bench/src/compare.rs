//! `bench compare`: runs all workloads in every round, so that a temporary slowdown of the machine affects all of
//! them and cancels out in their ratios.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::ensure;
use clap::Args;

use crate::{
    database,
    fixture::Fixture,
    load::{self, CONNECTIONS, IN_FLIGHT, Measurement},
    process::ServerProcess,
    report::{self, Row},
    workload::{self, Workload},
};

/// Measure echo, guarded, unguarded, buy and search in paired rounds, and print their ratios
///
/// With --against, also measures the servers of an older build, and prints the ratio of the cost per call.
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

/// Duration of each workload before the first round, which opens connections and fills caches.
const WARM_UP: Duration = Duration::from_millis(500);

pub(crate) async fn run(args: CompareArgs) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let threads = if args.threads == 0 { cores } else { args.threads };
    let rounds = args.rounds.unwrap_or(if args.against.is_some() { MIN_PAIRED_ROUNDS } else { ROUNDS });
    if args.store == StoreKind::Postgres {
        return database::compare(rounds, Duration::from_secs(args.seconds), threads, &args.log).await;
    }
    println!(
        "{cores} cores shared by server and load; {threads} server threads; {CONNECTIONS} connections × {IN_FLIGHT} \
         in flight; {rounds} rounds × {} s; log level {}",
        args.seconds, args.log
    );
    let fixture = warmed_up(&std::env::current_exe()?, threads, &args.log).await?;
    let duration = Duration::from_secs(args.seconds);
    match &args.against {
        Some(older) => {
            ensure!(rounds >= MIN_PAIRED_ROUNDS, "give --rounds {MIN_PAIRED_ROUNDS} or more with --against");
            let older = warmed_up(older, threads, &args.log).await?;
            paired(&fixture, &older, rounds, duration).await
        }
        None => alone(&fixture, rounds, duration).await,
    }
}

async fn alone(fixture: &Fixture, rounds: u32, duration: Duration) -> anyhow::Result<()> {
    let mut measured_rounds = Vec::new();
    for round in 1..=rounds {
        let mut rows = Vec::new();
        for workload in Workload::ALL {
            let row = measured(fixture, workload, duration).await?;
            println!("round {round}: {}", row.in_words());
            rows.push(row);
        }
        measured_rounds.push(rows);
    }
    report::print(&measured_rounds);
    Ok(())
}

/// Runs each workload on both builds, one directly after the other, so that a temporary slowdown affects both. The
/// order alternates with the round, so that neither build always benefits from going second.
async fn paired(fixture: &Fixture, older: &Fixture, rounds: u32, duration: Duration) -> anyhow::Result<()> {
    let mut pairs = Vec::new();
    for round in 1..=rounds {
        for workload in Workload::ALL {
            let pair = if round % 2 == 0 {
                let now = measured(fixture, workload, duration).await?;
                (now, measured(older, workload, duration).await?)
            } else {
                let before = measured(older, workload, duration).await?;
                (measured(fixture, workload, duration).await?, before)
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

async fn measured(fixture: &Fixture, workload: Workload, duration: Duration) -> anyhow::Result<Row> {
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

/// Maps consecutive numbers to evenly distributed ones: Fibonacci hashing (Knuth, TAOCP vol. 3, section 6.4).
fn spread(number: u64) -> usize {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
}
