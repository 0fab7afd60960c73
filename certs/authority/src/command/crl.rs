//! `gen-certs crl`: signs a new revocation list. The current one goes out of date after `CRL_VALIDITY`.

use std::io::Write;
use std::path::Path;

use time::OffsetDateTime;

use crate::authority::CRL_VALIDITY;
use crate::pki::Pki;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  gen-certs.sh crl    # then copy crl.pem to the market")]
pub(super) struct Args {}

impl Args {
    #[expect(clippy::unused_self, reason = "every command is run the same way")]
    pub(super) fn run(&self, dir: &Path, now: OffsetDateTime, out: &mut dyn Write) -> anyhow::Result<()> {
        let number = Pki::open(dir)?.refresh_crl(now)?;
        let until = (now + CRL_VALIDITY).date();
        writeln!(
            out,
            "revocations  {} (number {number}, current until {until})",
            dir.join("crl.pem").display()
        )?;
        Ok(())
    }
}
