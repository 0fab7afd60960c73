//! Benchmarks of the market. Each figure is reported together with an upper limit measured in the same run.

mod backups;
mod chart;
mod compare;
mod crash;
mod database;
mod dead_callbacks;
mod defects;
mod disk;
mod echo;
mod failover;
mod faults;
mod figures;
mod fixture;
mod fuzz;
mod growth;
mod histories;
mod hostile;
mod import;
mod join;
mod load;
mod made_up;
mod power_cut;
mod process;
mod proxy;
mod relevance;
mod report;
mod search;
mod site;
mod smoke;
mod stocked;
mod sync;
mod trade;
mod unguarded;
mod workload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure the market against limits of the same machine, and test its guarantees under faults
#[derive(Parser)]
#[command(name = "bench", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Compare(compare::CompareArgs),
    Search(search::SearchArgs),
    Growth(growth::GrowthArgs),
    Smoke(smoke::SmokeArgs),
    Chart(chart::ChartArgs),
    Crash(crash::CrashArgs),
    PowerCut(power_cut::PowerCutArgs),
    Faults(faults::FaultsArgs),
    DeadCallbacks(dead_callbacks::DeadCallbacksArgs),
    Histories(histories::HistoriesArgs),
    Defects(defects::DefectArgs),
    Failover(failover::FailoverArgs),
    Sync(sync::SyncArgs),
    Import(import::ImportArgs),
    Join(join::JoinArgs),
    Relevance(relevance::RelevanceArgs),
    Fuzz(fuzz::FuzzArgs),
    Hostile(hostile::HostileArgs),
    Sink(hostile::sink::SinkArgs),
    /// Run an echo server with the market's TLS and threads, as the upper limit. Started by `compare`.
    #[command(hide = true)]
    ServeEcho(process::ServeArgs),
    /// Run a market whose guard checks nothing. Started by `compare`.
    #[command(hide = true)]
    ServeUnguarded(process::ServeArgs),
    /// Run a market that lets a call act as any buyer. Started by `growth`.
    #[command(hide = true)]
    ServeAnyone(process::ServeArgs),
    /// Run a market to put load on. Started by `compare` and others.
    #[command(hide = true)]
    ServeMarket(process::ServeArgs),
    /// Run a market with default limits to attack. Started by `hostile`.
    #[command(hide = true)]
    ServeAttacked(process::ServeArgs),
    /// Attack it. Started by `hostile`.
    #[command(hide = true)]
    HostileAttack(hostile::AttackArgs),
    /// Run the `seller` program. Started by `import`.
    #[command(hide = true)]
    Seller(import::SellerArgs),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Compare(args) => compare::run(args).await,
        Command::Search(args) => search::run(args).await,
        Command::Growth(args) => growth::run(args).await,
        Command::Smoke(args) => smoke::run(args).await,
        Command::Chart(args) => chart::run(&args),
        Command::Crash(args) => crash::run(args).await,
        Command::PowerCut(args) => power_cut::run(args).await,
        Command::Faults(args) => faults::run(args).await,
        Command::DeadCallbacks(args) => dead_callbacks::run(args).await,
        Command::Histories(args) => histories::run(args).await,
        Command::Defects(args) => defects::run(&args),
        Command::Failover(args) => failover::run(args).await,
        Command::Sync(args) => sync::run(args).await,
        Command::Import(args) => import::run(args).await,
        Command::Join(args) => join::run(args).await,
        Command::Relevance(args) => relevance::run(args).await,
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Hostile(args) => hostile::run(args).await,
        Command::HostileAttack(args) => hostile::attack(args).await,
        Command::Sink(args) => hostile::sink::run(args).await,
        Command::ServeAttacked(args) => process::serve_attacked(args).await,
        Command::Seller(args) => return args.run().await,
        Command::ServeEcho(args) => echo::serve(args).await,
        Command::ServeUnguarded(args) => unguarded::serve(args).await,
        Command::ServeAnyone(args) => unguarded::serve_anyone(args).await,
        Command::ServeMarket(args) => process::serve_market(args).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
