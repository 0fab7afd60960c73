//! The `gen-certs` command line: one command per file.
//!
//! Data goes to stdout, errors to stderr. Exit codes are consistent with the other programs: 0 ok, 1 error, 2
//! usage, 3 no such certificate, 5 conflict with an existing file or state.

mod audit;
mod bundle;
mod crl;
mod init;
mod invitations;
mod invite;
mod issue;
mod list;
mod public;
mod renew;
mod revoke;
mod root;
mod serve;
mod sign;
mod token_key;

use std::io::Write;
use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use souk_certs::clock::Clock;
use souk_certs::identity::Role;
use souk_help::{Guide, GuideError};
use time::OffsetDateTime;

use crate::enrolment::ServeError;
use crate::invitation::book::BookError;
use crate::log::LogError;
use crate::pki::{Party, PkiError};

/// Exit codes, consistent with the other programs.
const ERROR: u8 = 1;
const USAGE: u8 = 2;
const NOT_FOUND: u8 = 3;
const CONFLICT: u8 = 5;

/// The folder, unless another is given or found.
const PKI: &str = "certs/pki";

/// Issues and manages the certificates of a Souk market.
///
/// A certificate is an account: anyone who has alice.pem and alice.key can act as alice. Keep the folder
/// with ca.key on one machine that only the operator can access; every other machine gets its own bundle.
#[derive(Debug, Parser)]
#[command(name = "gen-certs", version, after_help = EXAMPLES)]
pub struct Cli {
    /// Folder of the authority and all certificates [default: certs/pki, or ~/.local/share/souk if that holds
    /// an authority and certs/pki is not there]
    #[arg(long, global = true, env = "SOUK_PKI", hide_env_values = true, value_name = "DIR")]
    dir: Option<PathBuf>,
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
    /// Create the authority, an empty revocation list, and the market's certificate and keys
    Init(init::Args),
    /// Issue a certificate to a new seller
    #[command(after_help = "Example:\n  gen-certs.sh seller alice")]
    Seller(issue::Args),
    /// Issue a certificate to a new buyer
    #[command(after_help = "Example:\n  gen-certs.sh buyer bob")]
    Buyer(issue::Args),
    /// Issue a certificate to a new operator
    #[command(after_help = "Example:\n  gen-certs.sh operator olga")]
    Operator(issue::Args),
    /// Sign the public key of a certificate signing request
    Sign(sign::Args),
    /// Issue a new key and certificate for a party's existing identity
    Renew(renew::Args),
    /// Revoke all certificates of a party
    Revoke(revoke::Args),
    /// Sign a new revocation list; each is current for 30 days
    Crl(crl::Args),
    /// Create a new key for signing access tokens; tokens signed with the previous key remain valid until
    /// they expire
    TokenKey(token_key::Args),
    /// Change the authority, with a transition period in which both are trusted
    Root(root::Args),
    /// List every party and its certificate
    List(list::Args),
    /// Run the enrolment service, from which newcomers get their certificates with a code
    Serve(serve::Args),
    /// Print a code with which a newcomer gets a certificate
    Invite(invite::Args),
    /// List or cancel invitations
    #[command(after_help = "Example:\n  gen-certs invitations")]
    Invitations(invitations::Args),
    /// Read or verify the log of the enrolment service
    #[command(after_help = "Example:\n  gen-certs audit verify")]
    Audit(audit::Args),
    /// Pack the files that a party's machine needs into a tar archive
    Bundle(bundle::Args),
    #[command(flatten)]
    Guide(Guide),
}

impl Cli {
    /// Parses the arguments of the process. Ends it if they are wrong, or ask for help.
    #[must_use]
    pub fn read() -> Self {
        let parsed = souk_help::help(Self::command()).try_get_matches();
        let parsed = parsed.and_then(|matches| Self::from_arg_matches(&matches));
        parsed.unwrap_or_else(|error| souk_help::worded(error).exit())
    }

    /// Runs the command, with `now` as the time of everything it signs.
    ///
    /// # Errors
    /// Returns the [`PkiError`] of the operation, or an error of reading a request or writing to `out`.
    /// [`exit_code`] maps it to the exit code.
    pub fn run(&self, now: OffsetDateTime, out: &mut dyn Write) -> anyhow::Result<()> {
        let dir = &self.dir.clone().unwrap_or_else(found);
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
            Command::Serve(args) => args.run(dir, Clock::SYSTEM, out),
            Command::Invite(args) => args.run(dir, now, out),
            Command::Invitations(args) => args.run(dir, now, out),
            Command::Audit(args) => args.run(dir, out),
            Command::Guide(guide) => Ok(guide.run(Self::command(), out)?),
        }
    }
}

/// Returns the folder to use if none is given: `certs/pki`, or the one of `market serve --authority` if only that is there.
fn found() -> PathBuf {
    let here = PathBuf::from(PKI);
    if here.exists() {
        return here;
    }
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")));
    data.map(|data| data.join("souk")).filter(|dir| dir.join("ca.pem").exists()).unwrap_or(here)
}

/// Returns the exit code for the error of a failed command.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(GuideError::NoSuchCommand(_)) = error.downcast_ref() {
        return USAGE;
    }
    if let Some(LogError::Broken(_)) = error.downcast_ref() {
        return CONFLICT;
    }
    let folder = match error.downcast_ref() {
        Some(ServeError::Folder(error)) => Some(error),
        _ => error.downcast_ref(),
    };
    folder.map_or(ERROR, of_folder)
}

fn of_folder(error: &PkiError) -> u8 {
    match error {
        PkiError::Name(_) | PkiError::MarketName | PkiError::Reserved { .. } => USAGE,
        PkiError::UnknownParty { .. } | PkiError::NotInitialised { .. } | PkiError::NotSetUp { .. } => {
            NOT_FOUND
        }
        PkiError::Initialised { .. }
        | PkiError::NameTaken { .. }
        | PkiError::Known { .. }
        | PkiError::OtherRole { .. }
        | PkiError::FileInTheWay { .. }
        | PkiError::UuidTaken { .. }
        | PkiError::RootRetiring
        | PkiError::NoRootRetiring
        | PkiError::SignedByRetiring { .. }
        | PkiError::Revoked { .. } => CONFLICT,
        PkiError::Book(error) => of_book(error),
        _ => ERROR,
    }
}

fn of_book(error: &BookError) -> u8 {
    match error {
        BookError::Validity => USAGE,
        BookError::Unknown { .. } => NOT_FOUND,
        BookError::Invited { .. } | BookError::NotOpen { .. } | BookError::Full => CONFLICT,
        _ => ERROR,
    }
}

/// Prints a new certificate's party, files and expiry for people.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_short_help_with_an_example_and_a_manual_page() {
        let problems = souk_help::problems(&Cli::command());
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}
