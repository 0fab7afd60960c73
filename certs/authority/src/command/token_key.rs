//! `gen-certs token-key`: replaces the key that signs access tokens and keeps the previous one.

use std::io::Write;
use std::path::Path;

use time::OffsetDateTime;

use crate::pki::Pki;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  gen-certs.sh token-key    # then copy both keys to the market")]
pub(super) struct Args {}

impl Args {
    #[expect(clippy::unused_self, reason = "every command is run the same way")]
    pub(super) fn run(&self, dir: &Path, _: OffsetDateTime, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut pki = Pki::open(dir)?;
        pki.rotate_token_key()?;
        writeln!(out, "tokens       {}", pki.token_key_path().display())?;
        writeln!(out, "previous     {}", pki.previous_token_key_path().display())?;
        writeln!(
            out,
            "next         copy both to the market; tokens of the previous key remain valid until they expire"
        )?;
        Ok(())
    }
}
