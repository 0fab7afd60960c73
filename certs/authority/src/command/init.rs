//! `gen-certs init`: the first command in a new folder.

use std::io::Write;
use std::net::IpAddr;
use std::path::Path;

use anyhow::bail;
use souk_certs::identity::TrustDomain;
use time::OffsetDateTime;

use super::public::{Markets, Public};
use super::show;
use crate::pki::{InitOptions, Pki, Setup};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  gen-certs.sh init --dns market.example.org --ip 192.0.2.1\n  gen-certs.sh init --public ca.example.org --market m1.example.org:7443"
)]
pub(super) struct Args {
    /// Additional DNS name of the market, for clients that verify it by host name; may be repeated
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// IP address of the market, for clients that verify it by address; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    ip: Vec<IpAddr>,
    /// Set up an enrolment service that newcomers reach here; markets join it, so none gets a certificate now.
    /// The port is 7442 unless given
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with_all = ["dns", "ip"])]
    public: Option<Public>,
    #[command(flatten)]
    markets: Markets,
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
            without_market: self.public.is_some(),
            ..InitOptions::default()
        };
        if self.public.is_none() && !self.markets.addresses().is_empty() {
            bail!("--market is for an enrolment service; add --public HOST");
        }
        let mut pki = Pki::init(dir, &options, now)?;
        writeln!(out, "authority    {}", dir.join("ca.pem").display())?;
        if let Some(Public(public)) = &self.public {
            let setup = Setup { public: public.clone(), markets: self.markets.addresses(), ephemeral: false };
            pki.set_up(&setup, now)?;
            writeln!(out, "enrolment    at {public}, once this runs: gen-certs serve")?;
            writeln!(out, "next         gen-certs invite market NAME, and on its host: market join CODE")?;
            return Ok(());
        }
        writeln!(out, "revocations  {}", dir.join("crl.pem").display())?;
        writeln!(out, "tokens       {}", pki.token_key_path().display())?;
        show(&pki.market()?, out)?;
        Ok(())
    }
}
