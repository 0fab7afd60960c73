//! `market admin`: the operators' commands. They are calls over the network, like those of other parties.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use souk_cli::{
    Cell, CliSession, Column, CommonFlags, ContextCommand, DataField, Failure, Join, Paging, Shown, Tone,
    When, ended,
};
use souk_client::{Error, error::required};
use souk_proto::v1;

use super::{
    archive::Archive,
    dead_letters::{DeadLetters, Mailboxes, Redeliver},
    top_talkers::TopTalkers,
};

/// Manage the parties of a market, with an operator's certificate (gen-certs.sh operator NAME)
///
/// The settings file is ~/.config/souk/admin.toml (or $XDG_CONFIG_HOME/souk/admin.toml), unless --config names another.
/// Its keys are the names of the options below, without the dashes.
#[derive(Args)]
pub(super) struct AdminArgs {
    #[command(flatten)]
    flags: CommonFlags,
    #[command(subcommand)]
    command: AdminCommand,
}

#[derive(Subcommand)]
enum AdminCommand {
    /// List the registered parties
    #[command(after_help = "Example:\n  market admin parties --suspended")]
    Parties {
        /// List only suspended parties.
        #[arg(long)]
        suspended: bool,
        #[command(flatten)]
        paging: Paging,
    },
    Mailboxes(Mailboxes),
    DeadLetters(DeadLetters),
    Redeliver(Redeliver),
    TopTalkers(TopTalkers),
    /// Suspend a party: its tokens become invalid, its calls are refused, its items go off the market
    #[command(
        after_help = "Example:\n  market admin suspend 0199b8d2-5f0c-7d33-a3c1-2f1d8a0e4b77 --reason \"sells forgeries\""
    )]
    Suspend {
        /// The UUID of the party to suspend.
        party: String,
        /// The reason, for operators and the audit log.
        #[arg(long)]
        reason: String,
    },
    /// Reinstate a suspended party
    #[command(after_help = "Example:\n  market admin reinstate 0199b8d2-5f0c-7d33-a3c1-2f1d8a0e4b77")]
    Reinstate {
        /// The UUID of the party to reinstate.
        party: String,
    },
    /// Write orders and audit entries past their retention to files, then remove them from the market
    ///
    /// Writes DIR/orders-TIME.ndjson and DIR/audit-TIME.ndjson, one JSON object per line, readable only by their owner.
    /// The market removes what is in them once they are on disk. If the command is interrupted, run it again: nothing is
    /// lost, and some records may be in two files. The market's section [retention] says what is old enough; by default
    /// nothing is.
    #[command(
        after_help = "Examples:\n  market admin archive /var/backups/souk\n  market admin archive --dry-run"
    )]
    Archive(Archive),
    /// Join a market as an operator with an invitation code: get a certificate, and keep it as a context
    ///
    /// The code is made where the authority is (`gen-certs invite operator NAME`). It names the authority, which is verified
    /// before anything is sent. The key is made here and never leaves this machine. If it is interrupted, run the same command
    /// again.
    #[command(after_help = "Examples:\n  {program} join souk1ae3k…\n  {program} join --as work")]
    Join(Join),
    /// Your contexts: what `join` has made, one for each market that you have joined
    #[command(subcommand)]
    Context(ContextCommand),
}

pub(super) async fn run(args: AdminArgs) -> ExitCode {
    let output = args.flags.output.unwrap_or_default();
    ended(carry_out(args).await, output)
}

async fn carry_out(args: AdminArgs) -> Result<(), Failure> {
    let session = CliSession::new("admin", args.flags.resolve("admin")?);
    let outcome = call(args.command, &session).await;
    session.conclude(outcome).await
}

async fn call(command: AdminCommand, session: &CliSession) -> Result<(), Failure> {
    match command {
        AdminCommand::Parties { suspended, paging } => {
            paging
                .pages(session, async |page_size, page_token| {
                    let request = v1::ListPartiesRequest { page_size, page_token, suspended_only: suspended };
                    let page = session.call(request).await?;
                    let rows: Result<_, _> = page.parties.iter().map(PartyRow::of).collect();
                    Ok((rows?, page.next_page_token))
                })
                .await
        }
        AdminCommand::Mailboxes(mailboxes) => mailboxes.run(session).await,
        AdminCommand::DeadLetters(letters) => letters.run(session).await,
        AdminCommand::Redeliver(redeliver) => redeliver.run(session).await,
        AdminCommand::TopTalkers(talkers) => talkers.run(session).await,
        AdminCommand::Join(join) => join.run(session).await,
        AdminCommand::Context(command) => command.run(session).await,
        AdminCommand::Archive(archive) => archive.run(session).await,
        AdminCommand::Suspend { party, reason } => {
            session.printer().expects::<PartyRow>()?;
            let request = v1::SuspendRequest { party_id: party, reason, ..Default::default() };
            let answer = session.call(request).await?;
            session.printer().one(&PartyRow::of(&required(answer.party, "party")?)?)
        }
        AdminCommand::Reinstate { party } => {
            session.printer().expects::<PartyRow>()?;
            let request = v1::ReinstateRequest { party_id: party, ..Default::default() };
            let answer = session.call(request).await?;
            session.printer().one(&PartyRow::of(&required(answer.party, "party")?)?)
        }
    }
}

/// A party as shown to operators.
#[derive(serde::Serialize)]
struct PartyRow {
    party_id: String,
    role: &'static str,
    display_name: String,
    registered: When,
    suspended: Option<When>,
    reason: Option<String>,
}

impl PartyRow {
    fn of(party: &v1::PartyRecord) -> Result<Self, Error> {
        let account = required(party.account.clone(), "account")?;
        let suspension = party.suspension.as_ref();
        Ok(Self {
            role: match account.role() {
                v1::Role::Seller => "seller",
                v1::Role::Buyer => "buyer",
                v1::Role::Operator => "operator",
                v1::Role::Market | v1::Role::Unspecified => "unknown",
            },
            registered: required(When::of(account.register_time.as_ref()), "register_time")?,
            party_id: account.party_id,
            display_name: account.display_name,
            suspended: suspension.and_then(|suspension| When::of(suspension.suspend_time.as_ref())),
            reason: suspension.map(|suspension| suspension.reason.clone()),
        })
    }
}

impl Shown for PartyRow {
    const LIST: &'static str = "parties";
    const COLUMNS: &'static [Column] = &[
        Column::word("PARTY"),
        Column::word("ROLE").rank(2),
        Column::text("NAME"),
        Column::word("REGISTERED").rank(3),
        Column::word("SUSPENDED").rank(1),
        Column::prose("REASON").rank(4),
    ];
    const FIELDS: &'static [DataField] = &[
        DataField::value("party_id"),
        DataField::value("role"),
        DataField::value("display_name"),
        DataField::value("registered"),
        DataField::value("suspended"),
        DataField::value("reason"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let suspended = Cell::time(self.suspended);
        vec![
            Cell::from(&self.party_id),
            self.role.into(),
            Cell::from(&self.display_name),
            Cell::time(Some(self.registered)),
            if self.suspended.is_some() { suspended.tone(Tone::Bad) } else { suspended },
            Cell::or_dash(self.reason.as_deref()),
        ]
    }
}
