//! The one ambient clock of the workspace. Everything else takes the time as a parameter, so that tests and
//! simulations can choose it.

use time::OffsetDateTime;

/// The system's wall clock, in UTC.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one clock")]
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
