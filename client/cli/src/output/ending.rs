//! How a program ends: its failure on standard error, and its exit code.

use std::{io, process::ExitCode};

use anstyle::{AnsiColor, Style};
use souk_stdio::errln;

use super::{look::Output, pen::is_colored};
use crate::{Failure, plain, table::paint};

/// Ends a program: reports its failure, if it has failed, and returns its exit code.
pub fn ended(outcome: Result<(), Failure>, output: Output) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure, output);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Prints a failure, and what to do about it, on standard error.
pub(crate) fn report(failure: &Failure, output: Output) {
    let hint = failure.hint();
    if matches!(output, Output::Table | Output::Csv) {
        let label = |text: &str, color: AnsiColor| {
            let style = if is_colored(&io::stderr()) { color.on_default().bold() } else { Style::new() };
            paint(style, text)
        };
        errln!("{}: {}", label("error", AnsiColor::Red), plain(&failure.to_string()));
        if let Some(hint) = hint {
            errln!("{}: {hint}", label("hint", AnsiColor::Yellow));
        }
        return;
    }
    let reason = failure.refusal().and_then(|refusal| refusal.reason()).map(|reason| reason.as_str());
    let error = serde_json::json!({
        "error": { "message": failure.to_string(), "reason": reason, "hint": hint, "exit_code": failure.exit_code() }
    });
    errln!("{error}");
}
