//! The only place in the workspace that reads the system clock. Everything else takes the time as a
//! parameter, so that tests and simulations control it.

use time::OffsetDateTime;

/// Returns the current wall-clock time, in UTC.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one clock")]
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
