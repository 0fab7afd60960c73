//! What to do about errors of joining and of contexts.

use souk_enrolment::{context::ContextError, join::JoinError, party::PartyJoinError};

/// Returns what to do about a join that stopped before the authority decided.
pub(super) fn hint_of_join(error: &PartyJoinError) -> Option<&'static str> {
    match error {
        PartyJoinError::Join(JoinError::Unreached(_)) => Some(
            "check that the authority runs (`gen-certs serve`) and no firewall is in between; then join again with the same code",
        ),
        PartyJoinError::Join(JoinError::NotTheAuthority(_)) => {
            Some("check with the market's operator that the code is for this authority, or ask for a new one")
        }
        PartyJoinError::OtherRole { .. } | PartyJoinError::OtherName { .. } => {
            Some("leave the role and the context's name out, or remove that context first")
        }
        _ => Some("tell the market's operator; then join again with the same code"),
    }
}

/// Returns what to do about a context; `None` if the message says so itself.
pub(super) fn hint_of_context(error: &ContextError) -> Option<&'static str> {
    match error {
        ContextError::NoSuch { .. } | ContextError::Incomplete { .. } => {
            Some("join a market with an invitation code (`Souk::join`)")
        }
        ContextError::Exists { .. } => {
            Some("choose another name for the context (`JoinOptions::context_name`)")
        }
        ContextError::Busy { .. } => Some("try again in a moment"),
        _ => None,
    }
}
