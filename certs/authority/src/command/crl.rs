//! `gen-certs crl`: signs a new revocation list. The current one goes out of date after `CRL_VALIDITY`.

use std::io::Write;
use std::path::Path;

use time::OffsetDateTime;

use crate::authority::CRL_VALIDITY;
use crate::pki::Pki;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  gen-certs.sh crl    # then copy crl.pem to the market")]
pub(super) struct Args {
    /// After the folder was restored from a backup: the lowest number of the list and of the trust bundle, one
    /// more than the highest that a market or client has seen
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=MAX_NUMBER))]
    at_least: Option<u64>,
}

/// Highest number that may be skipped to. It leaves more numbers than there will ever be lists.
const MAX_NUMBER: u64 = 1 << 53;

impl Args {
    pub(super) fn run(&self, dir: &Path, now: OffsetDateTime, out: &mut dyn Write) -> anyhow::Result<()> {
        let number = Pki::open(dir)?.skip_to(self.at_least.unwrap_or(0), now)?;
        let until = (now + CRL_VALIDITY).date();
        writeln!(
            out,
            "revocations  {} (number {number}, current until {until})",
            dir.join("crl.pem").display()
        )?;
        Ok(())
    }
}
