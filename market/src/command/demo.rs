//! `market demo`: a market to watch, on this machine only.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use souk_certs::identity::Role;

use crate::demo::{replay, show, tour};

/// Watch a market at work on this machine; Ctrl-C removes everything
///
/// Certificates are minted in a temporary folder; sellers and buyers trade over real mutual-TLS connections.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  market demo\n  market demo --tour\n  market demo --replay online-retail.csv\n  \
                        eval \"$(market demo --env buyer)\"    # in another terminal, to join"
)]
pub(super) struct DemoArgs {
    /// Try every call once, print the results, and exit.
    #[arg(long, conflicts_with_all = ["replay", "env"])]
    tour: bool,
    /// Replay a real order log (CSV) line by line, compare the totals, and exit.
    #[arg(long, value_name = "FILE", conflicts_with = "env")]
    replay: Option<PathBuf>,
    /// Print the variables to set in another terminal to join the running demo.
    #[arg(long, value_name = "ROLE")]
    env: Option<Guest>,
    /// The address to listen on; port 0 picks a free one.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

#[derive(Clone, Copy, ValueEnum)]
enum Guest {
    Seller,
    Buyer,
}

pub(super) async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let all_well = if args.tour {
        tour::run().await?
    } else if let Some(file) = &args.replay {
        replay::run(file).await?
    } else if let Some(guest) = args.env {
        show::print_env(match guest {
            Guest::Seller => Role::Seller,
            Guest::Buyer => Role::Buyer,
        })?;
        true
    } else {
        show::run(args.listen).await?;
        true
    };
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
