//! Exponential back-off with jitter.

use std::time::Duration;

/// The bounds of what is added at random to a wait that the market requested.
const SPREAD: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Doubles `first` with each failed attempt (counted from 1) up to `longest`. `jitter`, from 0 to 1, picks a
/// point in the upper half of that interval, so that clients that failed together do not retry together.
pub(crate) fn scaled(first: Duration, longest: Duration, failed_attempts: u32, jitter: f64) -> Duration {
    let doublings = failed_attempts.saturating_sub(1).min(16);
    let whole = first.saturating_mul(1 << doublings).min(longest);
    whole.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

/// Returns the longer of the client's own back-off and the wait that the market requested, if it requested one.
///
/// A market that refuses many clients at once asks all of them for the same wait. A random part of up to half of it is
/// therefore added, so that they do not return together. It is never shortened.
pub(crate) fn requested(wait: Option<Duration>, own: Duration, jitter: f64) -> Duration {
    let Some(wait) = wait else { return own };
    let (least, most) = SPREAD;
    let spread = (wait / 2).clamp(least, most).mul_f64(jitter.clamp(0.0, 1.0));
    wait.saturating_add(spread).max(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requested_wait_is_spread_and_never_shortened() {
        let (wait, own) = (Duration::from_millis(1_000), Duration::from_millis(50));
        assert_eq!(requested(Some(wait), own, 0.0), wait);
        assert_eq!(requested(Some(wait), own, 0.5), Duration::from_millis(1_250));
        assert_eq!(requested(Some(wait), own, 1.0), Duration::from_millis(1_500));
        assert_eq!(requested(Some(Duration::from_secs(60)), own, 1.0), Duration::from_secs(62));
        assert_eq!(requested(Some(Duration::ZERO), own, 1.0), Duration::from_millis(100));
    }

    #[test]
    fn the_own_back_off_holds_without_a_request_and_if_it_is_longer() {
        let own = Duration::from_secs(3);
        assert_eq!(requested(None, own, 1.0), own);
        assert_eq!(requested(Some(Duration::from_millis(10)), own, 1.0), own);
    }
}
