//! `doctor`: prints the results of the checks.

use serde::Serialize;

use super::{
    CliSession,
    fields::DataField,
    output::Shown,
    table::{Cell, Column, Tone},
};
use crate::Failure;
use crate::doctor::{Finding, Outcome, examine as examine_config, examine_context};

#[derive(Serialize)]
struct FindingView {
    check: &'static str,
    outcome: &'static str,
    detail: String,
    remedy: Option<String>,
}

impl From<&Finding> for FindingView {
    fn from(finding: &Finding) -> Self {
        let outcome = match finding.outcome {
            Outcome::Pass => "pass",
            Outcome::Warn => "warn",
            Outcome::Fail(_) => "FAIL",
            Outcome::Skip => "skip",
        };
        Self {
            check: finding.check,
            outcome,
            detail: super::plain(&finding.detail),
            remedy: finding.remedy.clone(),
        }
    }
}

impl Shown for FindingView {
    const LIST: &'static str = "findings";
    const COLUMNS: &'static [Column] =
        &[Column::word(""), Column::word("CHECK"), Column::prose("FOUND"), Column::prose("REMEDY")];
    const FIELDS: &'static [DataField] = &[
        DataField::value("outcome"),
        DataField::value("check"),
        DataField::value("detail"),
        DataField::value("remedy"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let outcome = Cell::from(self.outcome).tone(match self.outcome {
            "pass" => Tone::Good,
            "warn" => Tone::Waiting,
            "FAIL" => Tone::Bad,
            _ => Tone::Plain,
        });
        let remedy = self.remedy.clone().unwrap_or_default();
        vec![outcome, self.check.into(), Cell::from(&self.detail), remedy.into()]
    }
}

/// Checks everything from the files to the callback, and prints the results. Returns the exit code: 0, or
/// that of the first failed check.
///
/// # Errors
/// No certificate was named, or the result can't be written.
pub async fn examine(session: &CliSession) -> Result<u8, Failure> {
    let config = session.config()?;
    let findings = match session.resolved().selection.in_use() {
        Some(selected) => {
            // A certificate that has ended is renewed, as before any other command. If it is not, the first check says so.
            let unusable = session.load(config).await.err();
            examine_context(config, (selected, unusable), session.audience()).await
        }
        None => examine_config(config, session.audience()).await,
    };
    let views: Vec<_> = findings.iter().map(FindingView::from).collect();
    session.printer().list(&views)?;
    let failed = findings.iter().find_map(|finding| match finding.outcome {
        Outcome::Fail(code) => Some(code),
        _ => None,
    });
    Ok(failed.unwrap_or(crate::exit::OK))
}
