//! The only place in the workspace that reads the system clock. Everything else takes a time, or a [`Clock`] to
//! read again and again, as a parameter, so that tests and simulations control it.

use time::OffsetDateTime;

/// A source of time, for components that outlive a single operation.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    read: fn() -> OffsetDateTime,
}

impl Clock {
    /// The system's wall clock, in UTC.
    pub const SYSTEM: Self = Self { read: now };

    /// Creates a clock from a function, for tests and simulations.
    #[must_use]
    pub const fn new(read: fn() -> OffsetDateTime) -> Self {
        Self { read }
    }

    /// Returns the current time.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        (self.read)()
    }
}

impl Default for Clock {
    /// Returns the system's clock.
    fn default() -> Self {
        Self::SYSTEM
    }
}

/// Returns the current wall-clock time, in UTC.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one clock")]
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
