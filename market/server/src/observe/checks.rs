//! The checks behind `/readyz`, one line each.

use std::fmt::Write as _;

/// A part of the market, and whether it can do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The part, one word.
    pub name: &'static str,
    /// Its state.
    pub state: CheckState,
}

/// The state of a part of the market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckState {
    /// It works.
    Ok,
    /// It works, but an operator should know this.
    Notice(String),
    /// It does not work: calls should be routed to other markets.
    Failed(String),
}

impl Check {
    /// Creates a check that fails for a reason, unless it is well.
    pub fn that(name: &'static str, is_well: bool, reason: &str) -> Self {
        Self::unless(name, (!is_well).then(|| reason.to_owned()))
    }

    /// Creates a check that fails if there is a problem.
    pub fn unless(name: &'static str, problem: Option<String>) -> Self {
        Self { name, state: problem.map_or(CheckState::Ok, CheckState::Failed) }
    }

    /// Creates a check that never fails, with what an operator should know.
    pub fn notice(name: &'static str, notice: Option<String>) -> Self {
        Self { name, state: notice.map_or(CheckState::Ok, CheckState::Notice) }
    }
}

/// Returns whether no check fails.
pub fn are_well(checks: &[Check]) -> bool {
    !checks.iter().any(|check| matches!(check.state, CheckState::Failed(_)))
}

/// Returns the checks as text: `name: ok`, or the name and what is the matter.
pub fn text(checks: &[Check]) -> String {
    checks.iter().fold(String::new(), |mut text, Check { name, state }| {
        let state = match state {
            CheckState::Ok => "ok",
            CheckState::Notice(what) | CheckState::Failed(what) => what,
        };
        // Writing to a string can't fail.
        let _ = writeln!(text, "{name}: {state}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_shown_and_fails_nothing() {
        let checks =
            [Check::that("ledger", true, "it failed"), Check::notice("clock", Some("paused".into()))];
        assert!(are_well(&checks));
        assert_eq!(text(&checks), "ledger: ok\nclock: paused\n");
        assert!(!are_well(&[Check::that("store", false, "gone")]));
    }
}
