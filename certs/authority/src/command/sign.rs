//! `gen-certs sign`: issues a certificate to a party that keeps its private key to itself.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use souk_certs::identity::Role;
use time::OffsetDateTime;
use uuid::Uuid;

use super::show;
use crate::pki::{IssueOptions, Pki};

/// Maximum size of a request. One for a P-256 key has about 500 bytes.
const MAX_REQUEST_BYTES: u64 = 64 * 1024;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  gen-certs.sh sign alice.csr --role seller --name alice")]
pub(super) struct Args {
    /// Signing request in PEM. Its signature is verified, and only its public key is used
    #[arg(value_name = "FILE.csr")]
    request: PathBuf,
    /// Role of the party: seller, buyer or operator
    #[arg(long)]
    role: Role,
    /// Name of the party and its file NAME.pem
    #[arg(long)]
    name: String,
    /// UUID of the party, to keep an existing identity [default: a new one]
    #[arg(long)]
    uuid: Option<Uuid>,
    /// Replace an existing certificate of that name; with the same role it keeps its identity
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
