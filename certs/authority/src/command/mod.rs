//! The `gen-certs` command line: one command per file.
//!
//! Data goes to stdout, errors to stderr. Exit codes, as for the other programs: 0 ok, 1 error, 2 usage, 3 no
//! such certificate, 5 something is there already.

mod bundle;
mod crl;
mod init;
mod issue;
mod list;
mod renew;
mod revoke;
mod root;
mod sign;
mod token_key;

use std::io::Write;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use souk_certs::identity::Role;
use time::OffsetDateTime;

use crate::pki::{Party, PkiError};

/// Mints and keeps the certificates of a Souk market.
///
/// A certificate is an account: whoever holds alice.pem and alice.key is alice. The folder with ca.key
/// belongs on one machine that only the operator can reach; every other machine gets its own bundle.
#[derive(Debug, Parser)]
#[command(name = "gen-certs", version, after_help = EXAMPLES)]
pub struct Cli {
    /// The folder that everything is kept in
    #[arg(
        long,
        global = true,
        env = "SOUK_PKI",
        hide_env_values = true,
        default_value = "certs/pki",
        value_name = "DIR"
    )]
    dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  gen-certs.sh init --dns market.example.org    authority and market
  gen-certs.sh seller alice                     alice.pem and alice.key
  gen-certs.sh bundle alice                     a tar for alice's machine
  gen-certs.sh revoke alice                     then copy crl.pem to the market";

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the authority, an empty revocation list and the market's certificate and keys
    Init(init::Args),
    /// Mint a seller
    Seller(issue::Args),
    /// Mint a buyer
    Buyer(issue::Args),
    /// Mint an operator
    Operator(issue::Args),
    /// Sign the public key of a certificate signing request
    Sign(sign::Args),
    /// Give a party a new key and certificate for the same identity
    Renew(renew::Args),
    /// Revoke a party's certificates
    Revoke(revoke::Args),
    /// Sign a fresh revocation list; each is current for 30 days
    Crl(crl::Args),
    /// Make a new key for signing access tokens; tokens of the one before are good to their end
    TokenKey(token_key::Args),
    /// Change the authority: for a while two are trusted
    Root(root::Args),
    /// Show every party and its certificate
    List(list::Args),
    /// Pack what a party's machine needs into a tar
    Bundle(bundle::Args),
}

impl Cli {
    /// Runs the command, with `now` as the time of everything it signs.
    ///
    /// # Errors
    /// The [`PkiError`] of the change, or the error of reading a request or writing to `out`; [`exit_code`]
    /// tells them apart.
    pub fn run(&self, now: OffsetDateTime, out: &mut dyn Write) -> anyhow::Result<()> {
        let dir = self.dir.as_path();
        match &self.command {
            Command::Init(args) => args.run(dir, now, out),
            Command::Seller(args) => args.run(dir, Role::Seller, now, out),
            Command::Buyer(args) => args.run(dir, Role::Buyer, now, out),
            Command::Operator(args) => args.run(dir, Role::Operator, now, out),
            Command::Sign(args) => args.run(dir, now, out),
            Command::Renew(args) => args.run(dir, now, out),
            Command::Revoke(args) => args.run(dir, now, out),
            Command::Crl(args) => args.run(dir, now, out),
            Command::TokenKey(args) => args.run(dir, now, out),
            Command::Root(args) => args.run(dir, now, out),
            Command::List(args) => args.run(dir, now, out),
            Command::Bundle(args) => args.run(dir, now, out),
        }
    }
}

/// The exit code of a failed command.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<PkiError>() {
        Some(PkiError::Name(_) | PkiError::MarketName) => 2,
        Some(PkiError::UnknownParty { .. } | PkiError::NotInitialised { .. }) => 3,
        Some(
            PkiError::Initialised { .. }
            | PkiError::NameTaken { .. }
            | PkiError::FileInTheWay { .. }
            | PkiError::UuidTaken { .. }
            | PkiError::RootRetiring
            | PkiError::NoRootRetiring
            | PkiError::SignedByRetiring { .. }
            | PkiError::Revoked { .. },
        ) => 5,
        _ => 1,
    }
}

/// What was made, for people.
fn show(party: &Party, out: &mut dyn Write) -> std::io::Result<()> {
    let uuid = party.identity.uuid().map_or_else(|| "-".to_owned(), |uuid| uuid.to_string());
    writeln!(out, "name         {}", party.name)?;
    writeln!(out, "role         {}", party.identity.role())?;
    writeln!(out, "uuid         {uuid}")?;
    writeln!(out, "certificate  {}", party.cert.display())?;
    match &party.key {
        Some(key) => writeln!(out, "key          {}", key.display())?,
        None => writeln!(out, "key          made elsewhere")?,
    }
    writeln!(out, "expires      {}", party.not_after.date())
}
