//! When and how often to retry a call.
//!
//! Every mutating request carries a `request_id` (AIP-155) that is generated once, before the first attempt,
//! so that a call takes effect once however often it is retried. Reads can be retried safely anyway.
//!
//! All calls of a connection share a [budget](crate::budget) of retries. Once it is used up, failures are returned at once.

use std::time::Duration;

use crate::{
    Error,
    backoff::{requested, scaled},
    error::{Refusal, Step, is_timeout},
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

/// Returns how long to wait after the given number of failed attempts (from 1), if the market requested this wait: the
/// longer of that and the [`backoff`]. `jitter` also spreads the market's wait, which it never shortens.
pub fn wait(requested_wait: Option<Duration>, failed_attempts: u32, jitter: f64) -> Duration {
    requested(requested_wait, backoff(failed_attempts, jitter), jitter)
}

/// What to do about a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A retry would not help, or might do harm.
    GiveUp,
    /// Retry after the back-off, and not before this time.
    Repeat {
        /// The wait that the market requested, if it requested one.
        at_least: Option<Duration>,
    },
    /// Retry at once with a new token, but only once.
    Renew,
}

/// Decides whether to retry a failed call.
pub fn verdict(failure: &Error) -> Verdict {
    match failure {
        Error::Refused(refusal) => refused(refusal),
        Error::Unreachable { step: Step::Tcp | Step::Call, .. } => Verdict::Repeat { at_least: None },
        // A name server or a market that is slow at the moment.
        Error::Unreachable { source, .. } if is_timeout(source.as_ref()) => {
            Verdict::Repeat { at_least: None }
        }
        // A name that does not resolve, or a peer without TLS, will fail in the same way a moment later.
        Error::Unreachable { step: Step::Resolve | Step::Tls, .. } => Verdict::GiveUp,
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
        (Code::Unavailable | Code::ResourceExhausted, _) if refusal.forbids_retry() => Verdict::GiveUp,
        (Code::Unavailable, at_least) => Verdict::Repeat { at_least },
        // Without a retry time, it is a limit that waiting does not lift, such as that of the message size.
        (Code::ResourceExhausted, at_least @ Some(_)) => Verdict::Repeat { at_least },
        // Other causes concern the certificate or the party id, which a new token does not change.
        (Code::Unauthenticated, _) if refusal.is_about_the_token() => Verdict::Renew,
        _ => Verdict::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn back_off_doubles_up_to_its_limit() {
        let full: Vec<_> = (1..=7).map(|attempt| backoff(attempt, 1.0).as_millis()).collect();
        assert_eq!(full, [100, 200, 400, 800, 1_600, 2_000, 2_000]);
        assert_eq!(backoff(1, 0.0).as_millis(), 50);
    }

    #[test]
    fn a_time_out_on_the_way_to_the_market_is_retried_and_a_lasting_obstacle_is_not() {
        let unreachable = |step, kind| {
            let source = Box::new(io::Error::new(kind, "it failed"));
            verdict(&Error::Unreachable { step, market: "a:1".parse().expect("an address"), source })
        };
        for step in [Step::Resolve, Step::Tcp, Step::Tls, Step::Call] {
            assert_eq!(
                unreachable(step, io::ErrorKind::TimedOut),
                Verdict::Repeat { at_least: None },
                "{step:?}"
            );
        }
        for step in [Step::Resolve, Step::Tls] {
            assert_eq!(unreachable(step, io::ErrorKind::InvalidData), Verdict::GiveUp, "{step:?}");
        }
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
