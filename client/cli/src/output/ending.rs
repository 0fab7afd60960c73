//! How a program ends: its failure on standard error, and its exit code.

use std::{io, process::ExitCode};

use anstyle::{AnsiColor, Style};
use souk_client::error::without_links;
use souk_stdio::errln;

use super::{look::Output, pen::is_colored};
use crate::{Audience, Failure, plain, table::paint};

/// Ends a command of `market`: reports its failure, if it has failed, and returns its exit code.
pub fn ended(outcome: Result<(), Failure>, output: Output) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report_to(Audience::Operator, &failure, output);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Prints a failure, and what its audience can do about it, on standard error.
pub(crate) fn report_to(audience: Audience, failure: &Failure, output: Output) {
    let hint = failure.remedy(audience);
    if matches!(output, Output::Table | Output::Csv) {
        let label = |text: &str, color: AnsiColor| {
            let style = if is_colored(&io::stderr()) { color.on_default().bold() } else { Style::new() };
            paint(style, text)
        };
        errln!("{}: {}", label("error", AnsiColor::Red), lines(&failure.to_string()));
        if let Some(hint) = hint {
            errln!("{}: {hint}", label("hint", AnsiColor::Yellow));
        }
        return;
    }
    let reason = failure.refusal().and_then(|refusal| refusal.reason()).map(|reason| reason.as_str());
    let error = serde_json::json!({
        "error": {
            "message": without_links(&failure.to_string()),
            "reason": reason,
            "hint": hint,
            "exit_code": failure.exit_code(),
        }
    });
    errln!("{error}");
}

/// Returns a message for the terminal. Further lines are indented, so that none of them can pass for another message.
fn lines(message: &str) -> String {
    let message = without_links(message);
    let lines: Vec<_> = message.lines().map(plain).collect();
    lines.join("\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_lines_and_show_no_escapes_for_them() {
        assert_eq!(lines("closed: https://docs.rs/rustls/"), "closed");
        assert_eq!(
            lines("wrong in line 2:\n2 | x\r\nerror: \u{1b}[2J"),
            "wrong in line 2:\n  2 | x\n  error: \\u{1b}[2J"
        );
    }
}
