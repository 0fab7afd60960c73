//! `gen-certs revoke`: takes effect on a machine when its copy of the revocation list is replaced.

use std::io::Write;
use std::path::Path;

use time::OffsetDateTime;

use crate::pki::Pki;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  gen-certs.sh revoke alice    # then copy crl.pem to the market")]
pub(super) struct Args {
    /// Name of the party; all of its certificates are revoked, including those replaced by a renewal
    name: String,
}

impl Args {
    pub(super) fn run(&self, dir: &Path, now: OffsetDateTime, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut pki = Pki::open(dir)?;
        match pki.revoke(&self.name, now)? {
            0 => writeln!(out, "{} has no valid certificate left to revoke", self.name)?,
            count => writeln!(out, "revoked      {count} certificate(s) of {}", self.name)?,
        }
        writeln!(out, "revocations  {} (number {})", dir.join("crl.pem").display(), pki.crl_number())?;
        if pki.setup().is_none() {
            writeln!(out, "next         copy crl.pem to the market")?;
        }
        Ok(())
    }
}
