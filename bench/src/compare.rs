//! `bench compare`: all workloads in turn, round after round, so that what slows the machine down for a
//! while slows all of them.

use std::time::Duration;

use clap::Args;

use crate::{
    database,
    load::{self, CONNECTIONS, IN_FLIGHT, Stretch},
    process::ServerProcess,
    report::{self, Row},
    scene::Scene,
    workload::{self, Workload},
};

/// Measure echo, guarded, unguarded, buy and search in paired rounds, and print their ratios
#[derive(Args)]
pub(crate) struct CompareArgs {
    /// Rounds; each runs every workload once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long each workload runs in each round, in seconds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Threads of the servers; 0: one for each core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Which log lines the servers write (to a file): "info" is one line for each call.
    #[arg(long, default_value = "warn")]
    log: String,
    /// With "postgres": measure purchases at one and two markets on one database, beside pgbench.
    #[arg(long, value_enum, default_value_t = Against::Sqlite)]
    store: Against,
}

/// What the markets keep everything in.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Against {
    /// A SQLite file.
    Sqlite,
    /// A PostgreSQL database.
    Postgres,
}

/// Before the first round, so that connections, caches and tokens are warm.
const WARM_UP: Duration = Duration::from_millis(500);

pub(crate) async fn run(args: CompareArgs) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let threads = if args.threads == 0 { cores } else { args.threads };
    if args.store == Against::Postgres {
        return database::compare(args.rounds, Duration::from_secs(args.seconds), threads, &args.log).await;
    }
    println!(
        "{cores} cores shared by server and load; {threads} server threads; {CONNECTIONS} connections × {IN_FLIGHT} \
         in flight; {} rounds × {} s; log level {}",
        args.rounds, args.seconds, args.log
    );
    let scene = Scene::set(threads, &args.log).await?;
    for workload in Workload::ALL {
        stretch(&scene, workload, WARM_UP).await?;
    }
    let mut rounds = Vec::new();
    for round in 1..=args.rounds {
        let mut rows = Vec::new();
        for workload in Workload::ALL {
            let row = measured(&scene, workload, Duration::from_secs(args.seconds)).await?;
            println!(
                "round {round}: {:<12} {:>8.0} calls/s, {:>6.1} µs/call",
                workload.as_str(),
                row.calls_per_second,
                row.cpu_micros
            );
            rows.push(row);
        }
        rounds.push(rows);
    }
    report::print(&rounds);
    Ok(())
}

async fn measured(scene: &Scene, workload: Workload, duration: Duration) -> anyhow::Result<Row> {
    let server = server(scene, workload);
    let before = server.cpu_seconds()?;
    let stretch = stretch(scene, workload, duration).await?;
    let used = server.cpu_seconds()? - before;
    Ok(Row {
        workload,
        calls_per_second: stretch.calls_per_second(),
        refused: stretch.refused as f64 / (stretch.calls + stretch.refused).max(1) as f64,
        cpu_micros: used * 1e6 / stretch.calls as f64,
        p50_micros: stretch.latency_micros.value_at_quantile(0.5),
        p99_micros: stretch.latency_micros.value_at_quantile(0.99),
    })
}

fn server(scene: &Scene, workload: Workload) -> &ServerProcess {
    match workload {
        Workload::Echo => &scene.echo,
        Workload::Unguarded => &scene.unguarded,
        _ => &scene.market,
    }
}

async fn stretch(scene: &Scene, workload: Workload, duration: Duration) -> anyhow::Result<Stretch> {
    let items = scene.items.clone();
    match workload {
        Workload::Echo => load::run(&scene.echo_clients, duration, |c, _| workload::who_am_i(c)).await,
        Workload::Guarded => load::run(&scene.buyers, duration, |c, _| workload::who_am_i(c)).await,
        Workload::Unguarded => {
            load::run(&scene.unguarded_clients, duration, |c, _| workload::who_am_i(c)).await
        }
        Workload::Search => load::run(&scene.buyers, duration, workload::search).await,
        Workload::BuyHot => {
            let item = items[0];
            load::run(&scene.buyers, duration, move |c, _| workload::buy(c, item)).await
        }
        Workload::BuyUniform => {
            load::run(&scene.buyers, duration, move |c, number| {
                workload::buy(c, items[spread(number) % items.len()])
            })
            .await
        }
    }
}

/// Spreads consecutive numbers evenly (the multiplier is the golden ratio's, as in Knuth's hashing).
fn spread(number: u64) -> usize {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
}
