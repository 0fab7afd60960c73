//! The back-off between delivery attempts.

use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
/// Delays in seconds, indexed by the number of consecutive failures. The last one applies to all further failures.
const DELAYS_SECONDS: [u64; 9] = [0, 1, 5, 30, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 4 * HOUR];
/// Relative jitter in either direction, so that recipients that failed together are not all retried together.
const JITTER: f64 = 0.2;

/// The longest delay that [`delay`] returns.
pub(super) const LONGEST: Duration = Duration::from_secs(4 * HOUR * 12 / 10);

/// Returns the delay after a failure that follows `failures` consecutive failures. `chance` is a random number in
/// 0..1.
pub(super) fn delay(failures: u32, chance: f64) -> Duration {
    let last = DELAYS_SECONDS.len() - 1;
    let index = usize::try_from(failures).map_or(last, |failures| (failures + 1).min(last));
    Duration::from_secs(DELAYS_SECONDS[index]).mul_f64(1.0 - JITTER + 2.0 * JITTER * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_four_hours_and_vary_by_a_fifth() {
        let middle: Vec<_> = (0..10).map(|failures| delay(failures, 0.5).as_secs()).collect();
        assert_eq!(middle, [1, 5, 30, 120, 600, 1_800, 3_600, 14_400, 14_400, 14_400]);
        assert_eq!(delay(u32::MAX, 0.0), Duration::from_secs(4 * HOUR).mul_f64(0.8));
        assert_eq!(delay(2, 1.0), Duration::from_secs(36));
        assert!(delay(u32::MAX, 1.0) <= LONGEST);
    }
}
