//! The clocks that are passed to the components that need the time.
//!
//! The wall [`Clock`] is for what people see and for the validity of certificates and tokens. Everything that expires,
//! is retried or is leased is judged by the [`SteadyClock`].

mod steady;

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use souk_certs::clock;
use souk_domain::Timestamp;
pub use steady::SteadyClock;

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

/// A source of elapsed time, which never goes back and does not follow corrections of the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Monotonic {
    read: fn() -> Duration,
}

impl Monotonic {
    /// The system's monotonic clock. On Linux it stands still while the machine is suspended.
    pub const SYSTEM: Self = Self { read: || BEGINNING.elapsed() };

    /// Creates a clock from a function, for tests.
    pub const fn new(read: fn() -> Duration) -> Self {
        Self { read }
    }

    /// Returns the time since some fixed moment.
    pub fn elapsed(&self) -> Duration {
        (self.read)()
    }
}

static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
