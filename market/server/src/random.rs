//! The source of the market's random numbers and ids, passed to the components that need them.

use souk_certs::random;
use souk_domain::Timestamp;
use uuid::Uuid;

/// A source of random values. The rules and the tests take values as parameters; long-running components take
/// this source.
#[derive(Clone, Copy, Debug)]
pub struct Random {
    seed: fn() -> [u8; 32],
    tail: fn() -> [u8; 10],
    unit: fn() -> f64,
    uuid: fn() -> Uuid,
}

impl Random {
    /// The operating system's random number generator.
    pub const SYSTEM: Self =
        Self { seed: random::bytes, tail: random::bytes, unit: random::unit, uuid: random::uuid_v4 };

    /// Returns a seed for another generator.
    pub fn seed(&self) -> [u8; 32] {
        (self.seed)()
    }

    /// Returns a random number in the range [0, 1).
    pub fn unit(&self) -> f64 {
        (self.unit)()
    }

    /// Returns a random UUID (version 4).
    pub fn uuid_v4(&self) -> Uuid {
        (self.uuid)()
    }

    /// Returns a UUID that sorts by time (version 7).
    pub fn uuid_v7(&self, at: Timestamp) -> Uuid {
        random::uuid_v7(at.into(), (self.tail)())
    }
}
