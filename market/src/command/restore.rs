//! `market restore`: puts a backup in place of the store.

use std::{fs, io, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use souk_server::{clock::Clock, config::StoreConfig};
use souk_stdio::outln;
use souk_store::sqlite::{self, SKIPPED_NUMBERS};

use super::store::StoreArgs;

/// Restore the store from a backup, while the market is stopped (SQLite; on the market's machine)
///
/// The backup is verified first. An existing store is kept under another name. Orders, items and events get numbers
/// above all that were assigned since the backup, so that clients confuse nothing. Exit code 0: restored; 1: nothing
/// was changed.
#[derive(Args)]
#[command(
    after_help = "Example:\n  market restore backup-2026-11-29.db --store souk.db --replace\n\nFor PostgreSQL, use \
                  pg_restore, as docs/backup.md shows."
)]
pub(super) struct RestoreArgs {
    /// The backup, as made by `market backup`.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace an existing store. Its files are kept: they get `.replaced-TIME` at the end of their names.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    store: StoreArgs,
}

pub(super) fn run(args: RestoreArgs) -> anyhow::Result<ExitCode> {
    let StoreConfig::Sqlite { path, index } = args.store.settings()? else {
        anyhow::bail!(
            "market restore restores SQLite files; for PostgreSQL run `createdb` and `pg_restore --exit-on-error \
             --dbname NEW_DATABASE {}`, then `market check` (docs/backup.md has the commands)",
            args.file.display()
        );
    };
    let aside = format!(".replaced-{}", Clock::SYSTEM.now().0 / 1_000_000);
    let restored = sqlite::restore(&args.file, &path, args.replace.then_some(aside.as_str()))?;
    // Derived from the store that is gone. The market would notice that it is ahead, but not that it is of another
    // past.
    match fs::remove_dir_all(&index) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| {
                format!(
                    "the store is restored, but {} is outdated; delete it before you start the market",
                    index.display()
                )
            });
        }
        _ => {}
    }
    for file in &restored.replaced {
        outln!("kept the previous store as {}", file.display());
    }
    outln!(
        "restored {} with {} orders and {} mailboxes; new numbers are {SKIPPED_NUMBERS} higher",
        path.display(),
        restored.orders,
        restored.mailboxes
    );
    outln!("next: market check --store {0}, then market serve --store {0}", path.display());
    Ok(ExitCode::SUCCESS)
}
