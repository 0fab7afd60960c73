//! `gen-certs sign`

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use souk_certs::identity::Role;
use time::OffsetDateTime;
use uuid::Uuid;

use super::show;
use crate::pki::{IssueOptions, Pki};

/// The longest request that is read; one for a P-256 key has about 500 bytes.
const MAX_REQUEST_BYTES: u64 = 64 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The request in PEM. Only its public key is used, once its signature has been checked
    #[arg(value_name = "FILE.csr")]
    request: PathBuf,
    /// What the party is: seller, buyer or operator
    #[arg(long)]
    role: Role,
    /// Names the file NAME.pem
    #[arg(long)]
    name: String,
    /// The party's UUID, to keep an identity; a new one by default
    #[arg(long)]
    uuid: Option<Uuid>,
    /// Replace the certificate of that name; the same role keeps its identity
    #[arg(long)]
    force: bool,
}

impl Args {
    pub(super) fn run(&self, dir: &Path, now: OffsetDateTime, out: &mut dyn Write) -> anyhow::Result<()> {
        let options = IssueOptions { uuid: self.uuid, force: self.force, ..IssueOptions::default() };
        let request = self.read().with_context(|| format!("cannot read {}", self.request.display()))?;
        let party = Pki::open(dir)?
            .sign_csr(&request, &self.name, self.role, &options, now)
            .with_context(|| format!("cannot sign {}", self.request.display()))?;
        show(&party, out)?;
        Ok(())
    }

    fn read(&self) -> std::io::Result<String> {
        let mut text = String::new();
        File::open(&self.request)?.take(MAX_REQUEST_BYTES).read_to_string(&mut text)?;
        Ok(text)
    }
}
