//! Asks for a confirmation.

use std::io::{self, IsTerminal as _};

use souk_cli::{Failure, ask_yes_no};

/// Checks that the user can be asked whether to do something, unless `yes` confirms it already. `question` has no
/// question mark.
///
/// # Errors
/// Standard input is no terminal.
pub(crate) fn can_confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes || io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Failure::usage(
        format!("can't ask whether to {question}: standard input is no terminal"),
        "pass --yes if that is what you mean",
    ))
}

/// Asks whether to do something, unless `yes` confirms it already. `question` has no question mark.
///
/// # Errors
/// As for [`can_confirm`], or standard input can't be read.
pub(crate) async fn confirmed(question: &str, yes: bool) -> Result<bool, Failure> {
    can_confirm(question, yes)?;
    let is_confirmed = yes || ask_yes_no(question).await?;
    if !is_confirmed {
        souk_stdio::errln!("nothing was changed");
    }
    Ok(is_confirmed)
}
