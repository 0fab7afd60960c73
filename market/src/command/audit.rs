//! `market audit`: reads and verifies the audit log, whether or not the market is running.

use std::{fmt, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use souk_cli::exit;
use souk_stdio::{errln, outln};
use souk_store::{
    Reads,
    audit::{AuditRow, Broken, Head, Verifier, attested},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    archived::{self, ArchivedParts},
    store::{self, StoreArgs},
};

/// The number of rows that are read at a time.
const PAGE: usize = 1_000;

/// Read and verify the audit log: who changed what (on the market's machine)
#[derive(Args)]
#[command(after_help = "Example:\n  market audit verify --store souk.db --head 4711:9f86d081884c7d65…")]
pub(super) struct AuditArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Verify that no entry was changed, removed, inserted or moved
    #[command(after_help = "Example:\n  market audit verify --store souk.db --head 4711:9f86d081884c7d65…")]
    Verify {
        /// A head that was noted earlier. With it, a missing end and a rewritten log are detected too. May
        /// be repeated.
        #[arg(long, value_name = "SEQUENCE:HASH")]
        head: Vec<Head>,
        /// A file of archived entries (audit-TIME.ndjson of `market admin archive`), to be verified too. May be
        /// repeated, in any order.
        #[arg(long, value_name = "FILE", num_args = 1..)]
        archive: Vec<PathBuf>,
    },
    /// Print the log's current head, to be noted on another machine
    #[command(after_help = "Example:\n  market audit head --store souk.db")]
    Head,
    /// Print entries, one JSON object per line
    #[command(after_help = "Example:\n  market audit list --store souk.db --after 4711 --limit 20")]
    List {
        /// Print only entries after this number.
        #[arg(long, default_value_t = 0)]
        after: i64,
        /// The maximum number of entries to print.
        #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
        limit: usize,
    },
}

pub(super) async fn run(args: AuditArgs) -> anyhow::Result<ExitCode> {
    let reads = store::open_reads(&args.store.settings()?).await?;
    match args.command {
        AuditCommand::Verify { head, archive } => verify(&*reads, &head, &archive).await,
        AuditCommand::Head => {
            outln!("{}", reads.audit_head().await?);
            Ok(ExitCode::SUCCESS)
        }
        AuditCommand::List { after, limit } => list(&*reads, after, limit).await,
    }
}

async fn verify(reads: &dyn Reads, noted: &[Head], files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    match verified(reads, noted, files).await {
        Ok(verified) => {
            outln!("the audit log is as it was written: {verified}");
            Ok(ExitCode::SUCCESS)
        }
        Err(broken) if broken.is::<Broken>() => {
            errln!("error: the audit log was tampered with: {broken}");
            Ok(ExitCode::from(exit::CONFLICT))
        }
        Err(error) => Err(error),
    }
}

/// A log that is as it was written.
pub(super) struct Verified {
    base: Head,
    end: Head,
    archived: Option<ArchivedParts>,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { base, end, archived } = self;
        write!(f, "{} entries", end.sequence - base.sequence)?;
        match archived {
            Some(ArchivedParts { first: 1, end }) => {
                write!(f, " and the archived ones, 1 to {}", end.sequence)?
            }
            Some(ArchivedParts { first, end }) => write!(
                f,
                " and the archived ones, {first} to {} (entry {first} itself can't be verified without the one before)",
                end.sequence
            )?,
            None if *base != Head::START => {
                write!(f, " after entry {}; those up to it were archived", base.sequence)?;
            }
            None => {}
        }
        write!(f, ", head {end}")
    }
}

/// Verifies the whole log, and archived parts of it. Fails with [`Broken`] if it is not as it was written.
pub(super) async fn verified(
    reads: &dyn Reads,
    noted: &[Head],
    files: &[PathBuf],
) -> anyhow::Result<Verified> {
    loop {
        let base = reads.audit_base().await?;
        match verified_from(reads, base, noted, files).await {
            // A market that is running may prune while this reads.
            Err(error) if error.is::<Broken>() && reads.audit_base().await? != base => {}
            ended => return ended,
        }
    }
}

async fn verified_from(
    reads: &dyn Reads,
    base: Head,
    noted: &[Head],
    files: &[PathBuf],
) -> anyhow::Result<Verified> {
    let archived = if files.is_empty() { None } else { Some(archived::verify(files, base, noted)?) };
    let first = archived.as_ref().map_or(base.sequence, |archived| archived.first);
    if let Some(early) = noted.iter().find(|head| head.sequence < first) {
        anyhow::bail!(
            "entry {} was archived; add --archive FILE for each file of archived entries from there on",
            early.sequence
        );
    }
    // One pass over the log for all heads, or for the chain alone if there are none. The end of the archive is a head
    // too: entries that are in both must be the same.
    let end = archived.as_ref().map(|archived| archived.end);
    let mut verifiers = noted
        .iter()
        .copied()
        .chain(end)
        .filter(|head| head.sequence >= base.sequence)
        .map(|head| Verifier::from_base(base, Some(head), attested))
        .collect::<Result<Vec<_>, _>>()?;
    if verifiers.is_empty() {
        verifiers.push(Verifier::from_base(base, None, attested)?);
    }
    // Start below the first valid number, because an inserted entry may have any.
    pages(reads, i64::MIN, usize::MAX, |row| {
        verifiers.iter_mut().try_for_each(|verifier| verifier.check(row)).map_err(anyhow::Error::from)
    })
    .await?;
    let mut end = Head::START;
    for verifier in verifiers {
        end = verifier.finish()?;
    }
    Ok(Verified { base, end, archived })
}

async fn list(reads: &dyn Reads, after: i64, limit: usize) -> anyhow::Result<ExitCode> {
    pages(reads, after, limit, |row| {
        outln!("{}", serde_json::to_string(&Shown::of(row)?)?);
        Ok(())
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

async fn pages(
    reads: &dyn Reads,
    mut after: i64,
    mut limit: usize,
    mut each: impl FnMut(&AuditRow) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    while limit > 0 {
        let page = reads.audit(after, limit.min(PAGE)).await?;
        let Some(last) = page.last() else { break };
        after = last.sequence;
        limit -= page.len();
        page.iter().try_for_each(&mut each)?;
    }
    Ok(())
}

/// An entry as printed, with its number and a readable time.
#[derive(Serialize)]
struct Shown {
    entry: i64,
    at: String,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Deserialize)]
struct Kept {
    at: i64,
    #[serde(flatten)]
    rest: Rest,
}

/// The fields of an entry, in the order of printing.
#[derive(Serialize, Deserialize)]
struct Rest {
    who: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    did: String,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
}

impl Shown {
    fn of(row: &AuditRow) -> anyhow::Result<Self> {
        let Kept { at, rest } = serde_json::from_str(&row.line)?;
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000)?.format(&Rfc3339)?;
        Ok(Self { entry: row.sequence, at, rest })
    }
}
