//! The market's randomness and new ids, handed to whatever needs them.

use souk_certs::random;
use souk_domain::Timestamp;
use uuid::Uuid;

/// Makes random values. The rules and the tests take such values; long-running parts take this.
#[derive(Clone, Copy, Debug)]
pub struct Random {
    seed: fn() -> [u8; 32],
    tail: fn() -> [u8; 10],
    unit: fn() -> f64,
    uuid: fn() -> Uuid,
}

impl Random {
    /// The machine's randomness.
    pub const SYSTEM: Self =
        Self { seed: random::bytes, tail: random::bytes, unit: random::unit, uuid: random::uuid_v4 };

    /// Seeds a generator of one's own.
    pub fn seed(&self) -> [u8; 32] {
        (self.seed)()
    }

    /// Returns a number from 0 up to 1, which it never reaches.
    pub fn unit(&self) -> f64 {
        (self.unit)()
    }

    /// Returns a random UUID.
    pub fn uuid_v4(&self) -> Uuid {
        (self.uuid)()
    }

    /// Returns a UUID that sorts by time.
    pub fn uuid_v7(&self, at: Timestamp) -> Uuid {
        random::uuid_v7(at.into(), (self.tail)())
    }
}
