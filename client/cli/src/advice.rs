//! What helps a party whose certificate is of a context: what is wrong, and the commands that this party has.

use souk_certs::credentials::{CredentialError, RENEWAL_GRACE};
use souk_client::{
    Error, Reason,
    error::{Distrust, Objection},
};
use souk_enrolment::{context::Description, join::JoinError, renewal::RenewalError};

use crate::{Audience, Failure, hints::of_context, selection::Selected};

/// An error as it concerns a party whose certificate is of a context.
#[derive(Debug)]
pub(crate) struct Advice {
    /// What is wrong, if the error says it for people who look after files themselves.
    pub(crate) message: Option<String>,
    /// What to do.
    pub(crate) hint: String,
}

/// Adds a hint to a failure of a party whose certificate is of a context: `join` makes another certificate. The hint for
/// other parties says which file to replace.
pub(crate) fn advised(failure: Failure, selected: &Selected, audience: Audience) -> Failure {
    let Failure::Client(error) = &failure else { return failure };
    match of_error(error, selected, audience) {
        Some(Advice { message, hint }) => Failure::Advised { failure: Box::new(failure), message, hint },
        None => failure,
    }
}

/// Words a certificate that can't be used because of `error`, and was not renewed because of `cause`.
pub(crate) fn unrenewed(
    error: CredentialError,
    cause: &RenewalError,
    selected: &Selected,
    audience: Audience,
) -> Failure {
    let what = match &error {
        CredentialError::Expired { .. } => "has ended",
        _ => "is of a root that is not trusted any more",
    };
    let message = match cause {
        RenewalError::Credentials(CredentialError::Expired { not_after, .. }) => {
            let days = RENEWAL_GRACE.as_secs() / (24 * 60 * 60);
            format!("your certificate ended on {}, and can be renewed for {days} days only", not_after.date())
        }
        RenewalError::Credentials(cause) => {
            format!("your certificate {what} and was not renewed: {}", worded(cause, selected))
        }
        _ => format!("your certificate {what} and was not renewed: {cause}"),
    };
    let hint = of_renewal(cause, &selected.description, audience);
    let failure = Box::new(Failure::Client(error.into()));
    Failure::Advised { failure, message: Some(message), hint }
}

/// Returns what helps against an error; `None` if that is no matter of the context.
pub(crate) fn of_error(error: &Error, selected: &Selected, audience: Audience) -> Option<Advice> {
    match error {
        Error::NoneReached(_) => error.decisive().and_then(|decisive| of_error(decisive, selected, audience)),
        Error::Credentials(error) => of_credentials(error, selected, audience),
        _ => of_distrust(error, selected, audience).map(|hint| Advice { message: None, hint }),
    }
}

fn of_credentials(error: &CredentialError, selected: &Selected, audience: Audience) -> Option<Advice> {
    let command = audience.command()?;
    let again = join_again(&selected.description, audience);
    let hint = match error {
        CredentialError::Expired { .. }
        | CredentialError::Revoked { .. }
        | CredentialError::NotSignedByCa { .. }
        | CredentialError::ExpiredCa { .. } => again,
        // Their messages say what to do: look at the clock, or at the permissions.
        CredentialError::NotYetValid { .. }
        | CredentialError::WrongIdentity { .. }
        | CredentialError::Unreadable { .. } => return None,
        _ => {
            let name = &selected.name;
            format!("the files of context {name} are damaged: `{command} context rm {name}`; then {again}")
        }
    };
    Some(Advice { message: Some(worded(error, selected)), hint })
}

/// Words what is wrong with the files of a context, without what helps people who look after files themselves.
fn worded(error: &CredentialError, selected: &Selected) -> String {
    match error {
        CredentialError::Expired { not_after, .. } => {
            format!("your certificate ended on {}", not_after.date())
        }
        CredentialError::Revoked { .. } => "your certificate has been revoked".to_owned(),
        CredentialError::NotSignedByCa { .. } => {
            "your certificate is of a root that is not trusted any more".to_owned()
        }
        CredentialError::ExpiredCa { not_after, .. } => {
            format!(
                "the authority's root that context {} trusts ended on {}",
                selected.name,
                not_after.date()
            )
        }
        CredentialError::NotYetValid { .. } => error.to_string(),
        _ => {
            // What to do comes last.
            let text = error.to_string();
            text.rsplit_once("; ").map_or(text.as_str(), |(what, _)| what).to_owned()
        }
    }
}

fn of_distrust(error: &Error, selected: &Selected, audience: Audience) -> Option<String> {
    let command = audience.command()?;
    let again = join_again(&selected.description, audience);
    match error {
        Error::Untrusted {
            distrust: Distrust::Ours(Objection::Revoked | Objection::OutOfDate | Objection::UnknownAuthority),
            ..
        } => Some(again),
        Error::Untrusted { distrust: Distrust::Theirs(Objection::UnknownAuthority), market } => {
            let name = &selected.name;
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

/// Returns what to do about a certificate that was not renewed.
pub(crate) fn of_renewal(error: &RenewalError, description: &Description, audience: Audience) -> String {
    let again = || join_again(description, audience);
    match error {
        RenewalError::Context(error) => of_context(error, audience).unwrap_or_else(again),
        RenewalError::Authority(JoinError::Clock(_) | JoinError::Early(_)) => {
            "check this machine's clock; if it is right, tell the market's operator".to_owned()
        }
        RenewalError::Authority(JoinError::Unreached(_)) => reach_authority(description),
        _ => again(),
    }
}

/// Returns how to find out why the authority does not answer.
pub(crate) fn reach_authority(description: &Description) -> String {
    let authority = description.authorities().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!(
        "check that `gen-certs serve` runs at {authority}, and that no firewall is in between; it is tried again hourly"
    )
}

/// Returns how the party gets another certificate for the same identity.
pub(crate) fn join_again(description: &Description, audience: Audience) -> String {
    let command = audience.command().unwrap_or_default();
    format!(
        "ask the market's operator for a code (`gen-certs invite {} {} --again`), then `{command} join`",
        description.role(),
        description.name
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use souk_certs::identity::{Identity, TrustDomain};
    use souk_enrolment::{code::InvitationId, context::Context};
    use time::{OffsetDateTime, macros::datetime};
    use uuid::Uuid;

    use super::*;
    use crate::exit;

    const END: OffsetDateTime = datetime!(2026-10-01 12:00 UTC);

    fn bob() -> Selected {
        let description = Description {
            identity: Identity::Buyer(Uuid::from_u128(7)),
            name: "bob".into(),
            market: Vec::new(),
            authority: vec!["ca.example.org:7442".parse().unwrap()],
            nearby: Vec::new(),
            trust_domain: TrustDomain::default(),
            invitation: InvitationId([7; 8]),
            ephemeral: false,
        };
        Selected::new("work".parse().unwrap(), Context::at("/c/souk"), description)
    }

    fn expired() -> CredentialError {
        let path = PathBuf::from("/c/souk/live/party.pem");
        CredentialError::Expired { path, not_after: END, name: "party".into() }
    }

    /// The commands of other folders, and names that nobody has.
    fn assert_is_of_this_party(failure: &Failure) {
        let text = format!("{failure}; {}", failure.remedy(Audience::Buyer).unwrap());
        assert!(!text.contains("gen-certs.sh") && !text.contains("party.pem"), "{text}");
        assert!(text.contains("`gen-certs invite buyer bob --again`"), "{text}");
        assert!(text.contains("`buyer join`"), "{text}");
        assert_eq!(failure.exit_code(), exit::IDENTITY);
    }

    #[test]
    fn a_certificate_that_ended_long_ago_leads_to_the_commands_of_this_party() {
        let failure = advised(expired().into(), &bob(), Audience::Buyer);
        assert_is_of_this_party(&failure);
        assert_eq!(failure.to_string(), "your certificate ended on 2026-10-01");
        let cause = RenewalError::Credentials(expired());
        let failure = unrenewed(expired(), &cause, &bob(), Audience::Buyer);
        assert_is_of_this_party(&failure);
        assert!(failure.to_string().contains("ended on 2026-10-01"), "{failure}");
        let Failure::Advised { failure, .. } = failure else { panic!("{failure:?}") };
        assert!(matches!(*failure, Failure::Client(Error::Credentials(CredentialError::Expired { .. }))));
    }

    #[test]
    fn a_clock_that_is_off_costs_no_context() {
        let path = PathBuf::from("/c/souk/live/party.pem");
        let early = CredentialError::NotYetValid { path, not_before: END };
        let failure = advised(early.into(), &bob(), Audience::Buyer);
        assert!(failure.to_string().contains("check this machine's clock"), "{failure}");
        assert!(!failure.remedy(Audience::Buyer).unwrap_or_default().contains("context rm"), "{failure}");
    }

    #[test]
    fn damaged_files_are_named_without_the_remedy_for_other_folders() {
        let path = PathBuf::from("/c/souk/live/ca.pem");
        let file = souk_certs::credentials::FileRole::Ca;
        let failure = advised(CredentialError::Missing { file, path }.into(), &bob(), Audience::Buyer);
        assert_eq!(failure.to_string(), "the CA certificate /c/souk/live/ca.pem does not exist");
        assert!(failure.remedy(Audience::Buyer).unwrap().contains("`buyer context rm work`"), "{failure}");
    }
}
