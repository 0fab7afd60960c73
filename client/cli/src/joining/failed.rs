//! What is said when no certificate was received, and what to do for the user of this program.

use souk_certs::connector::Dial;
use souk_client::{Error, Reason};
use souk_enrolment::{
    code::InvitationCode,
    join::{CALL_TIMEOUT, JoinError},
    key::KeyError,
    party::PartyJoinError,
};

use crate::{Failure, exit};

/// What helps when nothing can be done on this machine.
const TELL_THE_OPERATOR: &str = "tell the market's operator; then run the same command again";

/// Words a party's join that failed.
pub(super) fn of_party(error: PartyJoinError, code: &InvitationCode, command: &str) -> Failure {
    match error {
        PartyJoinError::Join(error) => refused(error, code, command),
        PartyJoinError::Context(error) => error.into(),
        PartyJoinError::Key(error) => of_key(error),
        PartyJoinError::OtherRole { .. } => Failure::usage(error.to_string(), "use the program of that role"),
        PartyJoinError::OtherName { .. } => Failure::undone(
            error.to_string(),
            Some("leave --as out, or remove the context first"),
            exit::CONFLICT,
        ),
        other => Failure::undone(other.to_string(), Some(TELL_THE_OPERATOR), exit::IDENTITY),
    }
}

fn of_key(error: KeyError) -> Failure {
    match error {
        KeyError::File { path, source } => {
            Failure::io(format!("use the key file {}", path.display()), source)
        }
        other => Failure::undone(other.to_string(), None, exit::IDENTITY),
    }
}

/// Words a join that the authority refused, or that did not reach it.
pub fn refused(error: JoinError, code: &InvitationCode, command: &str) -> Failure {
    let authority = code.authority();
    match error {
        JoinError::Key(error) => of_key(error),
        JoinError::Clock(_) | JoinError::Early(_) => Failure::undone(
            explained(&error, authority),
            Some(&format!(
                "check this machine's clock; if it is right, tell the market's operator. Then run `{command} join` again with \
                 the same code within 15 minutes"
            )),
            exit::IDENTITY,
        ),
        JoinError::NotTheAuthority(_) => Failure::undone(
            explained(&error, authority),
            Some(
                "check with the market's operator that the code is for this authority, or ask for a new one",
            ),
            exit::IDENTITY,
        ),
        JoinError::Unreached(source) => {
            let cause = Error::from_dial(&source);
            Failure::undone(
                format!("the authority at {authority} was not reached: {cause}"),
                Some(&format!(
                    "check that `gen-certs serve` runs there and no firewall is in between; then run `{command} join` again \
                     with the same code"
                )),
                exit::UNAVAILABLE,
            )
        }
        JoinError::Refused(status) => {
            let error = Error::from_status(status, &authority.clone().into(), CALL_TIMEOUT);
            let Some(refusal) = error.refusal().filter(|refusal| refusal.reason().is_some()) else {
                return Failure::undone(
                    format!("the authority at {authority} did not answer: {error}"),
                    Some(
                        "run the same command again within 15 minutes: the authority may have bound the code to this machine's \
                         key already",
                    ),
                    exit::UNAVAILABLE,
                );
            };
            match (refusal.reason(), refusal.metadata().get("role")) {
                (Some(Reason::InvitationRole), Some(role)) => {
                    let hint = match role.as_str() {
                        "operator" => "the code is for an operator: `market admin join`".to_owned(),
                        "market" => "the code is for a market: `market join`".to_owned(),
                        role => format!("the code is for a {role}: `{role} join`"),
                    };
                    Failure::Advised { failure: Box::new(error.into()), message: None, hint }
                }
                _ => error.into(),
            }
        }
        other => Failure::undone(explained(&other, authority), Some(TELL_THE_OPERATOR), exit::IDENTITY),
    }
}

/// Words an error with its cause and the server that it is about.
fn explained(error: &JoinError, authority: &Dial) -> String {
    let cause = error.cause().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error} (connecting to {authority}){cause}")
}
