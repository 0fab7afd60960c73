//! `join`: from an invitation code to a registered account, with nothing else at hand.
//!
//! Every step is recorded before the next one, so that the same command continues where an interrupted one stopped: the
//! key is kept in `joining/ID` until the context has it, and a context that exists is not joined again but registered.

mod account;
mod failed;
mod view;

pub use failed::refused as join_refused;

use std::io::{self, BufRead as _, IsTerminal as _};

use clap::Args;
use souk_certs::{connector::Dial, identity::Role};
use souk_enrolment::{
    code::InvitationCode,
    context::{ContextError, ContextFolder, ContextName},
    party::{Newcomer, join_party},
};

use self::view::JoinedView;
use crate::{CliSession, Failure, confirm::ask_unseen, context, selection::Selected};

/// The maximum length of a line with a code, in bytes.
const CODE_LINE_MAX: u64 = 4 * 1024;

/// Arguments of `join`.
#[derive(Args, Clone, Debug)]
pub struct Join {
    /// The invitation code; without it, you are asked, or it is read from standard input.
    code: Option<String>,
    /// The name of the context [default: the name in the invitation].
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// The name that others see at the market [default: the name in the invitation].
    #[arg(long, value_name = "NAME", conflicts_with = "no_register")]
    display_name: Option<String>,
    /// Don't register at the market.
    #[arg(long)]
    no_register: bool,
}

impl Join {
    /// Joins, registers, and prints the result.
    ///
    /// # Errors
    /// The code is damaged or refused, the authority or the market can't be reached, or another context has the name.
    /// Running the same command again continues.
    pub async fn run(self, session: &CliSession) -> Result<(), Failure> {
        session.printer().expects::<JoinedView>()?;
        let (folder, role) = context::folder(session)?;
        let name: Option<ContextName> =
            self.name.as_deref().map(str::parse).transpose().map_err(ContextError::Name)?;
        let command = session.audience().command().unwrap_or_default();
        let code = invitation_code(self.code.as_deref(), command).await?;
        let newcomer = Newcomer { role, name, market: named_market(session) };
        let joined = join_party(&folder, newcomer, &code, (session.clock(), session.random())).await;
        let joined = joined.map_err(|error| failed::of_party(error, &code, command))?;
        let selected = Selected::new(joined.name, joined.context, joined.description);
        let mut view = JoinedView::of(&selected)?;
        view.say_joined(session)?;
        let made_current = make_current(session, &folder, role, &selected)?;
        let registered = match self.no_register || role == Role::Operator {
            true => None,
            false => Some(account::register(session, &selected, self.display_name).await?),
        };
        view.complete(registered, made_current);
        view.print(session)?;
        context::warn_of_variables(session);
        Ok(())
    }
}

/// Returns the code: the argument, what is typed without being shown, or the first line of standard input. `command` is the
/// program, for hints.
///
/// # Errors
/// There is none, or it is damaged.
pub async fn invitation_code(given: Option<&str>, command: &str) -> Result<InvitationCode, Failure> {
    let text = match given {
        Some(code) => code.to_owned(),
        None if io::stdin().is_terminal() => ask_unseen("invitation code (not shown): ").await?,
        None => {
            let mut line = String::new();
            let read = io::Read::take(io::stdin().lock(), CODE_LINE_MAX).read_line(&mut line);
            read.map_err(|error| Failure::io("read the invitation code", error))?;
            line
        }
    };
    if text.trim().is_empty() {
        return Err(Failure::usage(
            "there is no invitation code on standard input",
            format!("`{command} join CODE`, or pass the code on standard input"),
        ));
    }
    text.trim().parse().map_err(|error: souk_enrolment::code::CodeError| Failure::Usage {
        message: error.to_string(),
        hint: None,
    })
}

/// Which context became the current one.
struct MadeCurrent {
    /// Whether it is the one that was joined.
    is_current: bool,
    /// The one before, if it was another.
    before: Option<ContextName>,
}

/// Returns the market that was named on the command line or elsewhere. It is used if the authority knows none.
fn named_market(session: &CliSession) -> Vec<Dial> {
    match session.resolved().given.origin("market") {
        Some(_) => session.resolved().market.iter().cloned().collect(),
        None => Vec::new(),
    }
}

/// Makes the context the current one, unless it is a demo's and a lasting one is in use.
fn make_current(
    session: &CliSession,
    folder: &ContextFolder,
    role: Role,
    selected: &Selected,
) -> Result<MadeCurrent, Failure> {
    let before = folder.current(role)?.filter(|before| *before != selected.name);
    let is_lasting = before.as_ref().is_some_and(|before| {
        folder.find(role, before).is_ok_and(|(context, found)| !found.ephemeral && context.is_complete())
    });
    // A certificate in the settings file counts as lasting, too: contexts have precedence over it.
    let is_in_file = session.resolved().given.origin("cert") == Some(crate::Origin::File);
    if selected.description.ephemeral && (is_lasting || is_in_file) {
        return Ok(MadeCurrent { is_current: false, before });
    }
    folder.make_current(role, Some(&selected.name), session.unique())?;
    Ok(MadeCurrent { is_current: true, before })
}
