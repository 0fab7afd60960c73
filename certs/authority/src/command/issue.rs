//! `gen-certs seller`, `gen-certs buyer`, `gen-certs operator`

use std::io::Write;
use std::path::Path;

use souk_certs::identity::Role;
use time::OffsetDateTime;

use super::show;
use crate::pki::{IssueOptions, Pki};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the party and its files NAME.pem and NAME.key; lower-case letters, digits and hyphens
    name: String,
    /// Replace an existing party of that name with a new identity, and revoke its certificates
    #[arg(long)]
    force: bool,
}

impl Args {
    pub(super) fn run(
        &self,
        dir: &Path,
        role: Role,
        now: OffsetDateTime,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let options = IssueOptions { force: self.force, ..IssueOptions::default() };
        show(&Pki::open(dir)?.issue(&self.name, role, &options, now)?, out)?;
        Ok(())
    }
}
