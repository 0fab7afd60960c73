//! The one place that asks the machine for the time. Everything else takes the time as a parameter, so
//! that tests can set it.

use time::OffsetDateTime;

/// The time now.
#[expect(clippy::disallowed_methods, reason = "the one ambient clock")]
pub fn now() -> OffsetDateTime {
    OffsetDateTime::from(std::time::SystemTime::now())
}
