//! The check of whether a certificate of a context is renewed by itself.

use souk_client::{ClientConfig, upkeep::RENEWAL_LIMIT};
use souk_enrolment::{
    context::{Context, Description},
    renewal::{self, Outcome as Renewal, Record},
};
use tokio::time::timeout;

use super::Outcome;
use crate::{
    Audience,
    advice::{join_again, of_renewal, reach_authority},
};

/// What the check has found: how it went, the detail and the remedy.
pub(super) type Found = (Outcome, String, Option<String>);

/// Looks at the renewals of a context. One that is due is tried now.
pub(super) async fn check(context: &Context, config: &ClientConfig, audience: Audience) -> Found {
    let Ok(Some(description)) = context.description() else {
        return (Outcome::Warn, format!("{} can't be read", context.folder().display()), None);
    };
    if description.authorities().next().is_none() {
        let detail = "the authority runs no enrolment service, so nothing is renewed by itself".to_owned();
        return (Outcome::Warn, detail, Some(join_again(&description, audience)));
    }
    let tried = timeout(RENEWAL_LIMIT, renewal::renew(context, config.clock, config.random)).await;
    match tried {
        Ok(Ok(Renewal::Renewed(certificate))) => {
            (Outcome::Pass, format!("renewed now, valid until {}", certificate.not_after().date()), None)
        }
        Ok(Ok(Renewal::NotDue | Renewal::Busy)) => (Outcome::Pass, last(context, &description), None),
        Ok(Err(error)) => {
            let remedy = of_renewal(&error, &description, audience);
            (Outcome::Warn, format!("the certificate is due, and was not renewed: {error}"), Some(remedy))
        }
        Err(_) => {
            let detail = format!("the authority did not answer within {RENEWAL_LIMIT:?}");
            (Outcome::Warn, detail, Some(reach_authority(&description)))
        }
    }
}

/// Returns when the certificate will be renewed, and what is known about earlier times.
fn last(context: &Context, description: &Description) -> String {
    let record = Record::read(context);
    let due =
        context.certificate(&description.trust_domain).map(|certificate| renewal::due(&certificate).date());
    let due =
        due.map_or_else(|_| "renewed by itself".to_owned(), |due| format!("renewed by itself from {due}"));
    match (record.renewed_at, record.failed_at.zip(record.error)) {
        (_, Some((at, error))) => format!("{due}; the last attempt, on {}, failed: {error}", at.date()),
        (Some(at), None) => format!("{due}; the last time was on {}", at.date()),
        (None, None) => due,
    }
}
