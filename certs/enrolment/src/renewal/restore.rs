//! Making files usable again that a program finds unusable when it starts, because it was off for long.

use std::time::Duration;

use souk_certs::clock::Clock;
use souk_certs::credentials::CredentialError;
use souk_certs::random::Random;

use super::certificate::renew_within;
use super::{Outcome, RenewalError, catch_up};
use crate::context::Context;

/// How long a program that can't do its work waits for another process that changes the context.
pub const RESTORE_WAIT: Duration = Duration::from_secs(10);

/// Renews the certificate of a context whose files can't be used because of `problem`: the certificate ended at most 30 days
/// ago, its root was retired, or all roots that it knows have ended. Returns `None` if a renewal does not solve the problem.
/// If another process changes the context, waits for it for at most [`RESTORE_WAIT`].
///
/// # Errors
/// As [`renew`](super::renew). The context stays as it is.
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
    Some(renew_within(context, RESTORE_WAIT, clock, random).await)
}
