//! The clock that is passed to the components that need the time.

use souk_certs::clock;
use souk_domain::Timestamp;

/// A source of time. The rules take a time as a value; long-running components take a clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    read: fn() -> Timestamp,
}

impl Clock {
    /// The system's wall clock, in UTC.
    pub const SYSTEM: Self = Self { read: || Timestamp::from(clock::now()) };

    /// Creates a clock from a function, for tests.
    pub const fn new(read: fn() -> Timestamp) -> Self {
        Self { read }
    }

    /// Returns the current time.
    pub fn now(&self) -> Timestamp {
        (self.read)()
    }
}
