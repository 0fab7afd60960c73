//! The commands `context list`, `use`, `show` and `rm`.

use std::io::{self, IsTerminal as _};

use clap::Subcommand;
use souk_certs::identity::Role;
use souk_enrolment::context::{ContextError, ContextFolder, ContextName};

use super::{list, show};
use crate::{CliSession, Failure, ask_yes_no, given::Origin};

/// Your contexts: what `join` has made, one for each market that you have joined
#[derive(Clone, Debug, Subcommand)]
pub enum ContextCommand {
    /// List your contexts: the market, until when each is valid, and which one is used
    #[command(after_help = "Example:\n  {program} context list")]
    List,
    /// Use a context from now on
    #[command(after_help = "Example:\n  {program} context use alice")]
    Use {
        /// The context, as `context list` shows it.
        name: String,
    },
    /// Show every setting in effect with its source, or what a context holds
    #[command(after_help = "Examples:\n  {program} context show\n  {program} context show alice")]
    Show {
        /// The context; without one, the settings in effect are shown.
        name: Option<String>,
    },
    /// Remove a context with its key and certificate
    ///
    /// The account stays at the market, and the certificate stays valid: if somebody may have copied the key, the operator
    /// revokes it.
    #[command(after_help = "Examples:\n  {program} context rm alice\n  {program} context rm alice --yes")]
    Rm {
        /// The context, as `context list` shows it.
        name: String,
        /// Don't ask for confirmation.
        #[arg(long)]
        yes: bool,
    },
}

impl ContextCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// There is no such context, or the folder can't be used.
    pub async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let (folder, role) = folder(session)?;
        match self {
            Self::List => {
                let rows = list::rows(&folder, role, session.clock().now()).await?;
                if rows.is_empty() {
                    let command = session.audience().command().unwrap_or_default();
                    session.printer().say(&format!("there is no context: `{command} join` makes one"));
                }
                session.printer().list(&rows)
            }
            Self::Use { name } => choose(session, &folder, role, &parsed(&name)?),
            Self::Show { name: Some(name) } => {
                let name = parsed(&name)?;
                let (context, description) = folder.find(role, &name)?;
                session.printer().list(&show::of_context(&name, &context, &description))
            }
            Self::Show { name: None } => {
                session.printer().list(&show::effective(session))?;
                // Also why there is no certificate, if that is so.
                session.config().map(drop)
            }
            Self::Rm { name, yes } => remove(session, &folder, role, &parsed(&name)?, yes).await,
        }
    }
}

/// Returns the folder of the user's contexts, and the role of the program.
///
/// # Errors
/// There is no home directory.
pub(crate) fn folder(session: &CliSession) -> Result<(ContextFolder, Role), Failure> {
    let role = session.audience().role();
    ContextFolder::of_user().zip(role).ok_or_else(|| {
        Failure::usage("there is no home directory, and contexts are in it", "set HOME or XDG_CONFIG_HOME")
    })
}

fn parsed(name: &str) -> Result<ContextName, Failure> {
    name.parse().map_err(|error| Failure::Context(ContextError::Name(error)))
}

fn choose(
    session: &CliSession,
    folder: &ContextFolder,
    role: Role,
    name: &ContextName,
) -> Result<(), Failure> {
    let (context, _) = folder.find(role, name)?;
    context.check_complete()?;
    let before = folder.current(role)?.filter(|before| before != name);
    folder.make_current(role, Some(name), session.unique())?;
    let before = before.map(|before| format!("; before, {before} was")).unwrap_or_default();
    session.printer().say(&format!("context {name} is current{before}"));
    warn_of_variables(session);
    Ok(())
}

/// Names the variables that have precedence over the current context.
pub(crate) fn warn_of_variables(session: &CliSession) {
    let given = &session.resolved().given;
    for (flag, variable) in [("context", "SOUK_CONTEXT"), ("cert", "SOUK_CERT"), ("market", "SOUK_MARKET")] {
        if given.origin(flag) == Some(Origin::Variable) {
            session.printer().say(&format!(
                "warning: {variable} is set, and has precedence over the current context: unset {variable}"
            ));
        }
    }
}

async fn remove(
    session: &CliSession,
    folder: &ContextFolder,
    role: Role,
    name: &ContextName,
    yes: bool,
) -> Result<(), Failure> {
    let is_listed = |listed: souk_enrolment::context::Listed| listed.name == *name;
    if !folder.list()?.into_iter().any(is_listed) {
        return Err(ContextError::NoSuch { name: name.to_string() }.into());
    }
    if !yes && !io::stdin().is_terminal() {
        return Err(Failure::usage(
            format!("can't ask whether to remove context {name}: standard input is no terminal"),
            "pass --yes if that is what you mean",
        ));
    }
    if !yes && !ask_yes_no(&format!("remove context {name} with its key")).await? {
        session.printer().say("nothing was changed");
        return Ok(());
    }
    let was_current = folder.current(role)?.as_ref() == Some(name);
    folder.remove(role, name, session.unique())?;
    session.printer().say(&format!("context {name} is removed"));
    if was_current {
        let command = session.audience().command().unwrap_or_default();
        session
            .printer()
            .say(&format!("it was the current one; `{command} context use NAME` chooses another"));
    }
    Ok(())
}
