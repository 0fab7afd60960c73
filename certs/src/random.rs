//! The one ambient source of randomness of the workspace, next to the [clock](crate::clock). Everything else
//! takes random values as parameters, so that tests and simulations can choose them.
//!
//! The bytes come from aws-lc-rs, as those of TLS do.

use time::OffsetDateTime;
use uuid::Uuid;

/// Random bytes, fit for keys and identifiers.
///
/// # Panics
/// If the operating system provides no randomness: then TLS does not work either.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(
        clippy::expect_used,
        reason = "without randomness there is no TLS, and so nothing to go on with"
    )]
    aws_lc_rs::rand::fill(&mut bytes).expect("the system provides randomness");
    bytes
}

/// A random number from 0 to 1, without 1, such as the jitter of a back-off.
#[must_use]
pub fn unit() -> f64 {
    f64::from(u32::from_le_bytes(bytes())) / (f64::from(u32::MAX) + 1.0)
}

/// A random UUID (version 4, RFC 9562, section 5.4).
#[must_use]
pub fn uuid_v4() -> Uuid {
    uuid::Builder::from_random_bytes(bytes()).into_uuid()
}

/// A UUID that sorts by time (version 7, RFC 9562, section 5.7). A time before 1970 counts as 1970: that costs the
/// order, not the uniqueness.
#[must_use]
pub fn uuid_v7(at: OffsetDateTime, random: [u8; 10]) -> Uuid {
    let milliseconds = u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_of_version_7_sort_by_time() {
        let at = OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000);
        let (early, late) = (uuid_v7(at, [0xff; 10]), uuid_v7(at + time::Duration::milliseconds(1), [0; 10]));
        assert_eq!((early.get_version_num(), uuid_v4().get_version_num()), (7, 4));
        assert!(early < late);
    }

    #[test]
    fn a_unit_is_from_zero_to_one() {
        assert!((0..1_000).map(|_| unit()).all(|unit| (0.0..1.0).contains(&unit)));
    }
}
