//! `gen-certs invitations`: lists and cancels invitations.

use std::io::Write;
use std::path::Path;

use clap::Subcommand;
use serde::Serialize;
use souk_enrolment::code::InvitationId;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::list::{Output, write_table};
use crate::invitation::book::{Book, Invitation, sha256_hex};
use crate::pki::Pki;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List invitations, which are kept for 30 days after they were used or expired (the default)
    #[command(after_help = "Example:\n  gen-certs invitations list --output json")]
    List(ListArgs),
    /// Cancel an invitation that is still open
    #[command(after_help = "Example:\n  gen-certs invitations cancel 0011223344556677")]
    Cancel {
        /// Id of the invitation, from the list
        id: InvitationId,
    },
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Format of the output
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// One line of the list; its fields are the keys of the JSON output.
#[derive(Serialize)]
struct Row {
    id: String,
    name: String,
    role: &'static str,
    expires: String,
    state: &'static str,
}

impl Args {
    pub(super) fn run(&self, dir: &Path, now: OffsetDateTime, out: &mut dyn Write) -> anyhow::Result<()> {
        match &self.command {
            None => self.list.run(dir, now, out),
            Some(Command::List(list)) => list.run(dir, now, out),
            Some(Command::Cancel { id }) => {
                let name = Pki::open(dir)?.cancel_invitation(*id, now)?;
                writeln!(out, "cancelled    {id}, for {name}")?;
                Ok(())
            }
        }
    }
}

impl ListArgs {
    fn run(&self, dir: &Path, now: OffsetDateTime, out: &mut dyn Write) -> anyhow::Result<()> {
        let pki = Pki::open(dir)?;
        let root = sha256_hex(pki.root());
        let book = Book::read(pki.dir())?;
        let rows: Vec<_> =
            book.invitations().iter().map(|invitation| Row::new(invitation, &root, now)).collect();
        match self.output {
            Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?,
            Output::Table => {
                let cells: Vec<_> = rows.iter().map(Row::cells).collect();
                write_table(["ID", "NAME", "ROLE", "EXPIRES", "STATE"], &cells, out)?;
            }
        }
        Ok(())
    }
}

impl Row {
    fn new(invitation: &Invitation, root: &str, now: OffsetDateTime) -> Self {
        let expires = invitation.expires.replace_nanosecond(0).unwrap_or(invitation.expires);
        Row {
            id: invitation.id.to_string(),
            name: invitation.name.clone(),
            role: invitation.role.as_str(),
            expires: expires.format(&Rfc3339).unwrap_or_else(|_| expires.to_string()),
            state: invitation.state(root, now).as_str(),
        }
    }

    fn cells(&self) -> [&str; 5] {
        [&self.id, &self.name, self.role, &self.expires, self.state]
    }
}
