//! When and how often to retry a call.
//!
//! Every mutating request carries a `request_id` (AIP-155) that is generated once, before the first attempt,
//! so that a call takes effect once however often it is retried. Reads can be retried safely anyway.

use std::time::Duration;

use crate::{
    Error,
    backoff::scaled,
    error::{Refusal, Step},
};

/// The maximum number of failed attempts of one call. A failure that leads to another address is not
/// counted.
pub const MAX_ATTEMPTS: u32 = 5;

/// The maximum wait before the second attempt; it doubles with each further one.
pub const FIRST_DELAY: Duration = Duration::from_millis(100);

/// The limit of the doubling. The market may ask for a longer wait.
pub const MAX_DELAY: Duration = Duration::from_secs(2);

/// Returns how long to wait after the given number of failed attempts (from 1). `jitter` between 0 and 1
/// picks a point in the upper half of the interval, so that clients which failed together do not return
/// together.
pub fn backoff(failed_attempts: u32, jitter: f64) -> Duration {
    scaled(FIRST_DELAY, MAX_DELAY, failed_attempts, jitter)
}

/// What to do about a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A retry would not help, or might do harm.
    GiveUp,
    /// Retry after the back-off, and not before this time.
    Repeat {
        /// The wait that the market requested; zero if it did not.
        at_least: Duration,
    },
    /// Retry at once with a new token, but only once.
    Renew,
}

/// Decides whether to retry a failed call.
pub fn verdict(failure: &Error) -> Verdict {
    match failure {
        Error::Refused(refusal) => refused(refusal),
        // A name that does not resolve, or a peer without TLS, will fail in the same way a moment later.
        Error::Unreachable { step: Step::Tcp | Step::Call, .. } => {
            Verdict::Repeat { at_least: Duration::ZERO }
        }
        Error::NoneReached(failures) => {
            let mut verdicts = failures.iter().map(verdict);
            // One address that may recover is enough: an impostor at another must not end the attempts.
            verdicts.find(|verdict| *verdict != Verdict::GiveUp).unwrap_or(Verdict::GiveUp)
        }
        _ => Verdict::GiveUp,
    }
}

fn refused(refusal: &Refusal) -> Verdict {
    use tonic::Code;
    match (refusal.code(), refusal.retry_after()) {
        (Code::Unavailable, wait) => Verdict::Repeat { at_least: wait.unwrap_or(Duration::ZERO) },
        // Without a retry time, it is a limit that waiting does not lift, such as that of the message size.
        (Code::ResourceExhausted, Some(wait)) => Verdict::Repeat { at_least: wait },
        // Other causes concern the certificate or the party id, which a new token does not change.
        (Code::Unauthenticated, _) if refusal.is_about_the_token() => Verdict::Renew,
        _ => Verdict::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn back_off_doubles_up_to_its_limit() {
        let full: Vec<_> = (1..=7).map(|attempt| backoff(attempt, 1.0).as_millis()).collect();
        assert_eq!(full, [100, 200, 400, 800, 1_600, 2_000, 2_000]);
        assert_eq!(backoff(1, 0.0).as_millis(), 50);
    }

    proptest! {
        #[test]
        fn back_off_is_bounded_for_any_input(attempt in any::<u32>(), jitter in any::<f64>()) {
            prop_assume!(!jitter.is_nan());
            let wait = backoff(attempt, jitter);
            prop_assert!(wait >= FIRST_DELAY / 2 && wait <= MAX_DELAY);
        }
    }
}
