//! `market demo`: a market to look at, on this machine alone.

use std::process::ExitCode;

use clap::Args;

use crate::demo::tour;

/// Watch a market at work on this machine; Ctrl-C removes everything
///
/// Certificates are minted in a temporary folder; sellers and buyers trade over real mutual-TLS connections.
#[derive(Args)]
pub(super) struct DemoArgs {
    /// Try every call once, print how each went, and end.
    #[arg(long)]
    tour: bool,
}

pub(super) async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let all_well = tour::run().await?;
    let _ = args.tour;
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
