//! `gen-certs root`: replaces the authority in two steps, with a period in between in which both are
//! trusted.

use std::io::Write;
use std::path::Path;

use clap::Subcommand;
use time::OffsetDateTime;

use crate::pki::Pki;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    step: Step,
}

#[derive(Debug, Subcommand)]
enum Step {
    /// Create a new authority that signs from now on; the old one remains trusted until it is retired
    #[command(after_help = "Example:\n  gen-certs.sh root new")]
    New,
    /// Stop trusting the old authority, once every party has a certificate of the new one
    #[command(after_help = "Example:\n  gen-certs.sh root retire")]
    Retire {
        /// Retire it even if parties still have only its certificates. They become invalid, but can be renewed over the
        /// network
        #[arg(long)]
        force: bool,
        /// Retire it because others know its key. Its certificates become invalid at once, and everybody who still has
        /// one has to join again
        #[arg(long, conflicts_with = "force")]
        compromised: bool,
    },
}

impl Args {
    pub(super) fn run(&self, dir: &Path, now: OffsetDateTime, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut pki = Pki::open(dir)?;
        match self.step {
            Step::New => {
                pki.new_root(now)?;
                if pki.setup().is_some() {
                    writeln!(
                        out,
                        "authorities  {} contains both; open invitations are cancelled",
                        dir.join("ca.pem").display()
                    )?;
                    writeln!(
                        out,
                        "next: parties follow by themselves; when gen-certs root retire names none, retire the old one"
                    )?;
                    return Ok(());
                }
                writeln!(out, "authorities  {} contains both", dir.join("ca.pem").display())?;
                writeln!(out, "next:")?;
                writeln!(out, "  1. copy ca.pem and crl.pem to the market and to every party")?;
                writeln!(out, "  2. gen-certs.sh renew --all, and copy each party's .pem and .key to it")?;
                writeln!(out, "  3. gen-certs.sh root retire, and copy ca.pem and crl.pem once more")?;
            }
            Step::Retire { force, compromised } => {
                if compromised {
                    pki.retire_compromised_root(now)?;
                } else {
                    pki.retire_root(force, now)?;
                }
                writeln!(out, "authority    {} contains only the new one", dir.join("ca.pem").display())?;
                if pki.setup().is_some() {
                    return Ok(());
                }
                writeln!(out, "next: copy ca.pem and crl.pem to the market and to every party")?;
            }
        }
        Ok(())
    }
}
