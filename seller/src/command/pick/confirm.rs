//! Asks for a confirmation.

use std::io::{self, IsTerminal as _};

use souk_cli::Failure;

/// Checks that the user can be asked whether to do something, or has said so already. The question is given without its
/// mark.
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

/// Asks whether to do something, unless the user has said so already. The question is given without its mark.
///
/// # Errors
/// As for [`can_confirm`].
pub(crate) async fn confirmed(question: &str, yes: bool) -> Result<bool, Failure> {
    can_confirm(question, yes)?;
    if yes {
        return Ok(true);
    }
    eprint!("{question}? [y/N] ");
    let read = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map(|_| answer)
    });
    let answer = read.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    let answer = answer.map_err(|error| Failure::io("read the answer", error))?;
    let is_confirmed = matches!(answer.trim().to_lowercase().as_str(), "y" | "yes");
    if !is_confirmed {
        eprintln!("nothing was changed");
    }
    Ok(is_confirmed)
}
