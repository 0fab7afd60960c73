//! `gen-certs bundle`: packs the files for one machine, among them the private key if it was made here.

use std::io::Write;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use crate::pki::Pki;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gen-certs.sh bundle alice
  gen-certs.sh bundle alice --out /tmp/alice.tar")]
pub(super) struct Args {
    /// Name of the party; `market` for the market
    name: String,
    /// Archive to write [default: NAME.tar in the folder]
    #[arg(short, long, value_name = "FILE.tar")]
    out: Option<PathBuf>,
    /// Overwrite an existing archive
    #[arg(long)]
    force: bool,
}

impl Args {
    pub(super) fn run(&self, dir: &Path, now: OffsetDateTime, out: &mut dyn Write) -> anyhow::Result<()> {
        let pki = Pki::open(dir)?;
        let name = pki.find(&self.name)?.name;
        let path = self.out.clone().unwrap_or_else(|| dir.join(format!("{name}.tar")));
        pki.bundle(name.as_str(), &path, self.force, now)?;
        writeln!(out, "bundle       {}", path.display())?;
        writeln!(out, "contains     a private key: send it over a confidential channel, then delete it")?;
        Ok(())
    }
}
