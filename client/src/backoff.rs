//! Exponential back-off with jitter.

use std::time::Duration;

/// Doubles `first` with each failed attempt (counted from 1) up to `longest`. `jitter`, from 0 to 1, picks a
/// point in the upper half of that interval, so that clients that failed together do not retry together.
pub(crate) fn scaled(first: Duration, longest: Duration, failed_attempts: u32, jitter: f64) -> Duration {
    let doublings = failed_attempts.saturating_sub(1).min(16);
    let whole = first.saturating_mul(1 << doublings).min(longest);
    whole.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}
