//! `gen-certs audit`: reads and verifies the authority's log.

use std::io::Write;
use std::path::Path;

use clap::Subcommand;
use souk_chain::Head;

use crate::log;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the entries, one JSON object per line (the default)
    #[command(after_help = "Example:\n  gen-certs audit list | grep conflict")]
    List,
    /// Verify that no entry was changed, removed, inserted or moved, and print the log's head
    #[command(after_help = "Example:\n  gen-certs audit verify --head 42:9f86d081884c7d65…")]
    Verify {
        /// A head that was noted earlier. With it, a missing end and a rewritten log are detected too
        #[arg(long, value_name = "SEQUENCE:HASH")]
        head: Option<Head>,
    },
}

impl Args {
    pub(super) fn run(&self, dir: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
        match &self.command {
            None | Some(Command::List) => {
                log::read(dir, |row| Ok::<_, anyhow::Error>(writeln!(out, "{}", row.line)?))
            }
            Some(Command::Verify { head }) => {
                let end = log::verify(dir, *head)?;
                writeln!(out, "the audit log is as it was written: {} entries, head {end}", end.sequence)?;
                Ok(())
            }
        }
    }
}
