//! `gen-certs init`: the first command in a new folder.

use std::io::Write;
use std::net::IpAddr;
use std::path::Path;

use souk_certs::identity::TrustDomain;
use time::OffsetDateTime;

use super::show;
use crate::pki::{InitOptions, Pki};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  gen-certs.sh init --dns market.example.org --ip 192.0.2.1")]
pub(super) struct Args {
    /// Additional DNS name of the market, for clients that verify it by host name; may be repeated
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// IP address of the market, for clients that verify it by address; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    ip: Vec<IpAddr>,
    /// SPIFFE trust domain of all identities
    #[arg(long, value_name = "DOMAIN", default_value_t)]
    trust_domain: TrustDomain,
    /// Replace an existing authority; its files are moved to a subfolder replaced-TIME and are no longer
    /// trusted
    #[arg(long)]
    force: bool,
}

impl Args {
    pub(super) fn run(&self, dir: &Path, now: OffsetDateTime, out: &mut dyn Write) -> anyhow::Result<()> {
        let options = InitOptions {
            trust_domain: self.trust_domain.clone(),
            dns: self.dns.clone(),
            ip: self.ip.clone(),
            force: self.force,
            ..InitOptions::default()
        };
        let pki = Pki::init(dir, &options, now)?;
        writeln!(out, "authority    {}", dir.join("ca.pem").display())?;
        writeln!(out, "revocations  {}", dir.join("crl.pem").display())?;
        writeln!(out, "tokens       {}", pki.token_key_path().display())?;
        show(&pki.market()?, out)?;
        Ok(())
    }
}
