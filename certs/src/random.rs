//! The only source of random bytes and new ids in the workspace. Everything else takes them, or a [`Random`]
//! that returns them, as parameters, so that tests and simulations can choose them.

use rand::RngExt as _;
use time::OffsetDateTime;
use uuid::{Builder, Uuid};

const NANOS_PER_MILLISECOND: i128 = 1_000_000;

/// A source of random values, for components that outlive a single operation.
#[derive(Clone, Copy, Debug)]
pub struct Random {
    fill: fn(&mut [u8]),
}

impl Random {
    /// The operating system's random number generator, which is suitable for keys and serial numbers.
    pub const SYSTEM: Self = Self { fill: fill_from_system };

    /// Creates a source from a function that overwrites a slice, for tests and simulations.
    #[must_use]
    pub const fn new(fill: fn(&mut [u8])) -> Self {
        Self { fill }
    }

    /// Returns random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.fill)(&mut bytes);
        bytes
    }

    /// Returns a random number in the range [0, 1), a multiple of 2⁻³².
    #[must_use]
    pub fn unit(&self) -> f64 {
        f64::from(u32::from_le_bytes(self.bytes())) / (f64::from(u32::MAX) + 1.0)
    }

    /// Returns a random UUID (version 4, RFC 9562).
    #[must_use]
    pub fn uuid_v4(&self) -> Uuid {
        Builder::from_random_bytes(self.bytes()).into_uuid()
    }

    /// Returns a UUID that sorts by time (version 7, RFC 9562). See [`uuid_v7`].
    #[must_use]
    pub fn uuid_v7(&self, at: OffsetDateTime) -> Uuid {
        uuid_v7(at, self.bytes())
    }
}

impl Default for Random {
    /// Returns the operating system's generator.
    fn default() -> Self {
        Self::SYSTEM
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one source")]
fn fill_from_system(bytes: &mut [u8]) {
    rand::rng().fill(bytes);
}

/// Returns cryptographically secure random bytes, suitable for keys and serial numbers.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one source")]
pub fn bytes<const N: usize>() -> [u8; N] {
    rand::rng().random()
}

/// Returns a random number in the range [0, 1).
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one source")]
pub fn unit() -> f64 {
    rand::random()
}

/// Returns a random UUID (version 4, RFC 9562).
#[must_use]
pub fn uuid_v4() -> Uuid {
    Builder::from_random_bytes(bytes()).into_uuid()
}

/// Returns a UUID that sorts by time (version 7, RFC 9562), so that ids created at about the same time are
/// adjacent in an index. Times before 1970 are treated as 1970.
#[must_use]
pub fn uuid_v7(at: OffsetDateTime, random: [u8; 10]) -> Uuid {
    let milliseconds = u64::try_from(at.unix_timestamp_nanos() / NANOS_PER_MILLISECOND).unwrap_or(0);
    Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_7_holds_the_time_and_the_bytes() {
        let at = OffsetDateTime::from_unix_timestamp_nanos(1_700_000_000_123_456_789).unwrap();
        let id = uuid_v7(at, [0xff; 10]);
        assert_eq!((id.get_version_num(), id.as_u128() >> 80), (7, 1_700_000_000_123));
        assert_ne!(id, uuid_v7(at, [0; 10]));
        assert_eq!(uuid_v7(OffsetDateTime::UNIX_EPOCH - time::Duration::DAY, [0; 10]).as_u128() >> 80, 0);
    }

    #[test]
    fn values_are_made_of_the_bytes_of_their_source() {
        let (low, high) = (Random::new(|bytes| bytes.fill(0)), Random::new(|bytes| bytes.fill(0xff)));
        assert_eq!((low.unit(), high.unit()), (0.0, 1.0 - 0.5_f64.powi(32)));
        assert_eq!((high.bytes(), high.uuid_v4().get_version_num()), ([0xff; 3], 4));
        let at = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(high.uuid_v7(at), uuid_v7(at, [0xff; 10]));
        assert_ne!(Random::SYSTEM.bytes::<16>(), Random::SYSTEM.bytes::<16>());
    }

    #[test]
    fn random_values_differ_and_lie_within_their_bounds() {
        assert_ne!(bytes::<16>(), bytes::<16>());
        assert_eq!(uuid_v4().get_version_num(), 4);
        assert!((0..100).map(|_| unit()).all(|number| (0.0..1.0).contains(&number)));
    }
}
