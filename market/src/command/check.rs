//! `market check`: verifies a store, its audit log and its search index.

use std::{path::Path, process::ExitCode};

use clap::Args;
use souk_cli::exit;
use souk_search::{Agreement, SearchError};
use souk_server::config::StoreConfig;
use souk_stdio::{errln, outln};
use souk_store::{Finding, Reads, StoreError, audit::Broken};

use super::{
    audit::verified,
    store::{StoreArgs, open_reads},
};

/// Verify a store: its file, the invariants, the audit log and the search index (on the market's machine)
///
/// Changes nothing, and works on a backup and while a market runs. Prints a line for each check. Exit code 0: all
/// hold; 5: at least one does not, or the store is damaged; 1: there is no store of this version, or it could not be
/// read.
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
    let findings = match &store {
        StoreConfig::Memory { .. } => Vec::new(),
        StoreConfig::Sqlite { path, .. } => souk_store::sqlite::check(path, announce)?,
        StoreConfig::Postgres { address, options, .. } => {
            souk_store::postgres::check(address, options, announce).await?
        }
    };
    let mut problems = findings.iter().filter(|finding| !report(finding)).count();
    match open_reads(&store).await {
        Ok(reads) => {
            problems += usize::from(!audit_holds(&*reads).await?);
            if !args.without_index {
                problems += usize::from(!index_agrees(&store, &*reads).await?);
            }
        }
        Err(error) if problems > 0 && is_damage(&error) => {
            outln!("skipped the other checks, because the store can't be opened");
        }
        Err(error) => return Err(error),
    }
    if problems == 0 {
        outln!("everything holds");
        return Ok(ExitCode::SUCCESS);
    }
    outln!("{problems} of the checks failed; restore a backup, or keep the files and ask for help");
    Ok(ExitCode::from(exit::CONFLICT))
}

/// Returns whether an error means that the store is damaged, and not that it can't be reached.
fn is_damage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(StoreError::Corrupt(_))))
}

/// Large stores take minutes, so each check is announced on stderr.
fn announce(condition: &'static str) {
    errln!("checking: {condition}");
}

/// Prints a finding. Returns whether its condition holds.
fn report(finding: &Finding) -> bool {
    let Finding { invariant, holds, violations, example } = finding;
    match violations {
        0 => outln!("ok      {invariant:<6} {holds}"),
        count => outln!("FAILED  {invariant:<6} {holds}: {count} violations, such as {example}"),
    }
    *violations == 0
}

async fn audit_holds(reads: &dyn Reads) -> anyhow::Result<bool> {
    announce("the audit log is as it was written");
    match verified(reads, &[], &[]).await {
        Ok(verified) => {
            outln!("ok      I9     the audit log is as it was written: {verified}");
            Ok(true)
        }
        Err(error) if error.is::<Broken>() || is_damage(&error) => {
            outln!("FAILED  I9     the audit log is as it was written: {error}");
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
    let examined = match souk_search::examine(index, reads).await {
        Ok(examined) => examined,
        Err(error) => return unreadable(index, error),
    };
    let Some(agreement) = examined else {
        outln!("ok      index  there is none in {}; the market builds it when it starts", index.display());
        return Ok(true);
    };
    if agreement.is_complete() {
        outln!("ok      index  the search index agrees with the store: {} items", agreement.agreeing);
        return Ok(true);
    }
    let Agreement { missing, different, superfluous, .. } = &agreement;
    for (what, items) in [("missing", missing), ("different", different), ("superfluous", superfluous)] {
        if !items.is_empty() {
            let named: Vec<_> = items.iter().take(NAMED).map(|item| item.0.to_string()).collect();
            outln!("FAILED  index  {} items are {what} in it, such as {}", items.len(), named.join(", "));
        }
    }
    advise_rebuilding(index);
    Ok(false)
}

/// Reports damage of the index or of the store's items; returns other errors.
fn unreadable(index: &Path, error: SearchError) -> anyhow::Result<bool> {
    let is_of_index = matches!(error, SearchError::Index(_));
    let error = anyhow::Error::from(error);
    if !is_of_index && !is_damage(&error) {
        return Err(error);
    }
    outln!("FAILED  index  the search index agrees with the store: {error}");
    if is_of_index {
        advise_rebuilding(index);
    }
    Ok(false)
}

fn advise_rebuilding(index: &Path) {
    outln!("        stop the market and delete {}: it is rebuilt at the next start", index.display());
}
