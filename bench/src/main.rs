//! Measures the market: each figure beside a limit that was measured in the same run.

mod compare;
mod database;
mod defects;
mod echo;
mod failover;
mod import;
mod load;
mod process;
mod report;
mod scene;
mod sync;
mod unguarded;
mod workload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure the market against its limits
#[derive(Parser)]
#[command(name = "bench", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Compare(compare::CompareArgs),
    Defects(defects::DefectArgs),
    Failover(failover::FailoverArgs),
    Sync(sync::SyncArgs),
    Import(import::ImportArgs),
    /// The limit: a bare echo server with the market's TLS and threads. Started by `compare`.
    #[command(hide = true)]
    ServeEcho(process::ServeArgs),
    /// A market whose guard checks nothing. Started by `compare`.
    #[command(hide = true)]
    ServeUnguarded(process::ServeArgs),
    /// A market for the load. Started by `compare` and `import`.
    #[command(hide = true)]
    ServeMarket(process::ServeArgs),
    /// The `seller` program. Started by `import`.
    #[command(hide = true)]
    Seller(import::SellerArgs),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Compare(args) => compare::run(args).await,
        Command::Defects(args) => defects::run(&args),
        Command::Failover(args) => failover::run(args).await,
        Command::Sync(args) => sync::run(args).await,
        Command::Import(args) => import::run(args).await,
        Command::Seller(args) => return args.run().await,
        Command::ServeEcho(args) => echo::serve(args).await,
        Command::ServeUnguarded(args) => unguarded::serve(args).await,
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
