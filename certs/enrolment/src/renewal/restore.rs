//! Making files usable again that a program finds unusable when it starts, because it was off for long.

use souk_certs::clock::Clock;
use souk_certs::credentials::CredentialError;
use souk_certs::random::Random;

use super::{Outcome, RenewalError, catch_up, renew};
use crate::context::Context;

/// Renews the certificate of a context whose files can't be used because of `problem`: the certificate ended at most 30 days
/// ago, its root was retired, or all roots that it knows have ended. Returns `None` if a renewal does not solve the problem.
///
/// # Errors
/// As [`renew`]. The context stays as it is.
pub async fn restore(
    context: &Context,
    problem: &CredentialError,
    clock: Clock,
    random: Random,
) -> Option<Result<Outcome, RenewalError>> {
    match problem {
        CredentialError::Expired { .. } | CredentialError::NotSignedByCa { .. } => {}
        CredentialError::ExpiredCa { .. } => {
            if let Err(error) = catch_up(context, clock, random).await {
                return Some(Err(error));
            }
        }
        _ => return None,
    }
    Some(renew(context, clock, random).await)
}
