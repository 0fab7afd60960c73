//! `market backup`: a consistent copy of the store, while the market runs.

use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use souk_server::config::StoreConfig;
use souk_stdio::{errln, outln};
use souk_store::sqlite::{self, BackupProgress};

use super::store::StoreArgs;

/// Copy the store to a file while the market runs (SQLite; on the market's machine)
///
/// The copy is the store as it is when the command starts. The market continues to trade. The file appears under its
/// name when it is complete and on disk, readable only by its owner. Exit code 0: the backup is complete; 1: there is
/// none.
#[derive(Args)]
#[command(
    after_help = "Example:\n  market backup backup-2026-11-29.db --store souk.db\n\nFor PostgreSQL, use \
                        pg_dump or pg_basebackup, as docs/backup.md shows."
)]
pub(super) struct BackupArgs {
    /// The file to create. It must not exist.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print nothing but errors.
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    store: StoreArgs,
}

pub(super) fn run(args: BackupArgs) -> anyhow::Result<ExitCode> {
    let StoreConfig::Sqlite { path, .. } = args.store.settings()? else {
        anyhow::bail!(
            "market backup copies SQLite files; for PostgreSQL run `pg_dump --format custom --file {} DATABASE`, which \
             is consistent while markets run (docs/backup.md has the commands)",
            args.file.display()
        );
    };
    let shows_progress = !args.quiet && io::stderr().is_terminal();
    let bytes = sqlite::backup(&path, &args.file, |progress| {
        if shows_progress {
            show(progress);
        }
    })?;
    if shows_progress {
        errln!();
    }
    if !args.quiet {
        outln!("{} holds a copy of {} ({})", args.file.display(), path.display(), size(bytes));
        outln!("next: market check --store {}", shown(&args.file));
    }
    Ok(ExitCode::SUCCESS)
}

/// Overwrites the line of the terminal.
fn show(BackupProgress { copied, total }: BackupProgress) {
    let percent = (copied * 100).checked_div(total).unwrap_or(100);
    souk_stdio::report(format_args!("\rcopied {} of {} ({percent} %)   ", size(copied), size(total)));
}

fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    if bytes < 10 * MIB { format!("{} KiB", bytes.div_ceil(1 << 10)) } else { format!("{} MiB", bytes / MIB) }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
