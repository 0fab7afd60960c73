//! What helps a party whose certificate is of a context.

use souk_certs::credentials::CredentialError;
use souk_client::{
    Error, Reason,
    error::{Distrust, Objection},
};

use crate::{Audience, Failure, selection::Selected};

/// Adds to a failure what helps a party whose certificate is of a context: `join` makes another certificate, where
/// others are told which file to replace.
pub(crate) fn advised(failure: Failure, selected: &Selected, audience: Audience) -> Failure {
    let Failure::Client(error) = &failure else { return failure };
    match advice(error, selected, audience) {
        Some(hint) => Failure::Advised { failure: Box::new(failure), hint },
        None => failure,
    }
}

fn advice(error: &Error, selected: &Selected, audience: Audience) -> Option<String> {
    let command = audience.command()?;
    let Selected { name, description, .. } = selected;
    let role = description.role();
    let again = format!(
        "ask the market's operator for a code (`gen-certs invite {role} {} --again`), then `{command} join`",
        description.name
    );
    match error {
        Error::NoneReached(_) => error.decisive().and_then(|decisive| advice(decisive, selected, audience)),
        Error::Credentials(CredentialError::Expired { .. }) => Some(again),
        Error::Credentials(CredentialError::Revoked { .. }) => Some(again),
        Error::Credentials(CredentialError::WrongIdentity { .. } | CredentialError::Unreadable { .. }) => {
            None
        }
        Error::Credentials(_) => Some(format!(
            "the files of context {name} are damaged: `{command} context rm {name}`; then {again}"
        )),
        Error::Untrusted {
            distrust: Distrust::Ours(Objection::Revoked | Objection::OutOfDate | Objection::UnknownAuthority),
            ..
        } => Some(again),
        Error::Untrusted { distrust: Distrust::Theirs(Objection::UnknownAuthority), market } => {
            Some(format!(
                "check that {market} is the market of context {name} (`{command} context show`); if its authority has been \
             replaced, {again}"
            ))
        }
        Error::Refused(refusal) => match refusal.reason()? {
            Reason::CertificateExpired | Reason::CertificateRevoked | Reason::TrustNotChained => Some(again),
            _ => None,
        },
        _ => None,
    }
}
