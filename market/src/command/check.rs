//! `market check`: verifies a store, its audit log and its search index.

use std::{path::Path, process::ExitCode};

use clap::Args;
use souk_cli::exit;
use souk_search::Agreement;
use souk_server::config::StoreConfig;
use souk_store::{Finding, Reads, audit::Broken};

use super::{
    audit::verified,
    store::{StoreArgs, open_reads},
};

/// Verify a store: its file, the invariants, the audit log and the search index (on the market's machine)
///
/// Changes nothing, and works on a backup and while a market runs. Prints a line for each check. Exit code 0: all
/// hold; 5: at least one does not; 1: the store could not be read.
#[derive(Args)]
#[command(
    after_help = "Example:\n  market check --store souk.db\n\nARCHITECTURE.md lists the invariants by number."
)]
pub(super) struct CheckArgs {
    /// Skip the comparison with the search index.
    #[arg(long)]
    without_index: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// The number of items of a difference that are named.
const NAMED: usize = 5;

pub(super) async fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let store = args.store.settings()?;
    let reads = open_reads(&store).await?;
    let findings = match &store {
        StoreConfig::Memory { .. } => Vec::new(),
        StoreConfig::Sqlite { path, .. } => souk_store::sqlite::check(path, announce)?,
        StoreConfig::Postgres { address, options, .. } => {
            souk_store::postgres::check(address, options, announce).await?
        }
    };
    let mut problems = findings.iter().filter(|finding| !report(finding)).count();
    problems += usize::from(!audit_holds(&*reads).await?);
    if !args.without_index {
        problems += usize::from(!index_agrees(&store, &*reads).await?);
    }
    if problems == 0 {
        println!("everything holds");
        return Ok(ExitCode::SUCCESS);
    }
    println!("{problems} of the checks failed; restore a backup, or keep the files and ask for help");
    Ok(ExitCode::from(exit::CONFLICT))
}

/// Large stores take minutes, so each check is announced on stderr.
fn announce(condition: &'static str) {
    eprintln!("checking: {condition}");
}

/// Prints a finding. Returns whether its condition holds.
fn report(finding: &Finding) -> bool {
    let Finding { invariant, holds, violations, example } = finding;
    match violations {
        0 => println!("ok      {invariant:<6} {holds}"),
        count => println!("FAILED  {invariant:<6} {holds}: {count} violations, such as {example}"),
    }
    *violations == 0
}

async fn audit_holds(reads: &dyn Reads) -> anyhow::Result<bool> {
    announce("the audit log is as it was written");
    match verified(reads, &[], &[]).await {
        Ok(verified) => {
            println!("ok      I9     the audit log is as it was written: {verified}");
            Ok(true)
        }
        Err(error) if error.is::<Broken>() => {
            println!("FAILED  I9     the audit log is as it was written: {error}");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

async fn index_agrees(store: &StoreConfig, reads: &dyn Reads) -> anyhow::Result<bool> {
    let index = match store {
        StoreConfig::Sqlite { index, .. } => Some(index),
        StoreConfig::Memory { index } | StoreConfig::Postgres { index, .. } => index.as_ref(),
    };
    match index {
        Some(index) => compare(index, reads).await,
        // It is in the memory of the market.
        None => Ok(true),
    }
}

async fn compare(index: &Path, reads: &dyn Reads) -> anyhow::Result<bool> {
    announce("the search index agrees with the store");
    let Some(agreement) = souk_search::examine(index, reads).await? else {
        println!("ok      index  there is none in {}; the market builds it when it starts", index.display());
        return Ok(true);
    };
    if agreement.is_complete() {
        println!("ok      index  the search index agrees with the store: {} items", agreement.agreeing);
        return Ok(true);
    }
    let Agreement { missing, different, superfluous, .. } = &agreement;
    for (what, items) in [("missing", missing), ("different", different), ("superfluous", superfluous)] {
        if !items.is_empty() {
            let named: Vec<_> = items.iter().take(NAMED).map(|item| item.0.to_string()).collect();
            println!("FAILED  index  {} items are {what} in it, such as {}", items.len(), named.join(", "));
        }
    }
    println!("        stop the market and delete {}: it is rebuilt at the next start", index.display());
    Ok(false)
}
