//! The market's clock, handed to whatever needs the time.

use souk_certs::clock;
use souk_domain::Timestamp;

/// Tells the time. The rules and the tests take a time as a value; long-running parts take a clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    read: fn() -> Timestamp,
}

impl Clock {
    /// The machine's clock.
    pub const SYSTEM: Self = Self { read: || Timestamp::from(clock::now()) };

    /// A clock of one's own, for tests.
    pub const fn new(read: fn() -> Timestamp) -> Self {
        Self { read }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        (self.read)()
    }
}
