//! The values that an argument may have: those of commands that all programs have, and those of the program's own.

use crate::{
    CliSession, Failure,
    choices::{Choice, Source},
    context,
    grammar::Program,
};

/// Returns what an argument stands for, by its command and its name.
pub(super) fn source_of<P: Program>(command: &[&str], argument: &str) -> Option<Source> {
    match (command, argument) {
        (["context", "use" | "show" | "rm"], "name") => Some(Source::Contexts),
        _ => P::source(command, argument),
    }
}

/// Returns the values that match what was typed. Contexts are on this machine, the others are the market's.
pub(super) async fn of_source<P: Program>(
    source: Source,
    typed: &str,
    session: &CliSession,
) -> Result<Vec<Choice>, Failure> {
    match source {
        Source::Contexts => contexts(typed, session),
        source => P::choices(source, typed, session).await,
    }
}

/// Lists the contexts of the program's role.
fn contexts(typed: &str, session: &CliSession) -> Result<Vec<Choice>, Failure> {
    let (folder, role) = context::folder(session)?;
    let own = folder.list()?.into_iter().filter_map(|listed| {
        let description = listed.description.ok().filter(|description| description.role() == role)?;
        let market = description.market.first().map(ToString::to_string);
        Some(Choice {
            value: listed.name.to_string(),
            details: market.unwrap_or_default(),
            ..Choice::default()
        })
    });
    Ok(own.filter(|choice| choice.matches(typed)).collect())
}
