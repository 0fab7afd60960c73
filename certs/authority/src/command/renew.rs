//! `gen-certs renew`: renews one party, or all of them except those that are revoked.

use std::io::Write;
use std::path::Path;

use time::OffsetDateTime;

use super::show;
use crate::pki::{Pki, Status};

#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_help = "Examples:\n  gen-certs.sh renew alice\n  gen-certs.sh renew --all")]
pub(super) struct Args {
    /// Party to renew. The replaced certificate and key are kept as NAME.old.pem and NAME.old.key, and
    /// remain valid until they expire or the party is revoked
    #[arg(required_unless_present = "all")]
    name: Option<String>,
    /// Renew every party that is not revoked and whose key is here
    #[arg(long, conflicts_with_all = ["name", "reinstate"])]
    all: bool,
    /// Renew a revoked party, with a new key for the same identity
    #[arg(long)]
    reinstate: bool,
}

impl Args {
    pub(super) fn run(&self, dir: &Path, now: OffsetDateTime, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut pki = Pki::open(dir)?;
        if let Some(name) = &self.name {
            show(&pki.renew(name, self.reinstate, now)?, out)?;
            return Ok(());
        }
        for party in pki.parties() {
            let skipped = match (party.status(now), &party.key) {
                (Status::Revoked, _) => Some("revoked"),
                (_, None) => Some("its key was made elsewhere"),
                (_, Some(_)) => None,
            };
            match skipped {
                Some(why) => writeln!(out, "{}  skipped: {why}", party.name)?,
                None => {
                    let renewed = pki.renew(party.name.as_str(), false, now)?;
                    writeln!(out, "{}  renewed until {}", renewed.name, renewed.not_after.date())?;
                }
            }
        }
        Ok(())
    }
}
