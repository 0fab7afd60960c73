//! Identifiers and points in time.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
    };
}

number_id! {
    /// An item's number, given by the market from 1 upwards and never reused. 0 means an item that was only
    /// validated (`validate_only`).
    ItemId
}
number_id! {
    /// An order's number, given by the market from 1 upwards and never reused. 0 means an order that was only
    /// validated (`validate_only`).
    OrderId
}
number_id! {
    /// A delivery's position in its recipient's mailbox. It starts at 1, increases and may skip numbers; as a
    /// cursor, 0 means before the first.
    Sequence
}
number_id! {
    /// The number of a dead letter, given by the store and never reused.
    DeadLetterId
}
number_id! {
    /// A point in time, in microseconds since 1970-01-01T00:00:00Z.
    Timestamp
}
uuid_id! {
    /// The id of a seller, buyer or operator: the UUID in its certificate.
    PartyId
}
uuid_id! {
    /// A client's idempotency key for one mutating call (AIP-155); unique per caller.
    RequestId
}
uuid_id! {
    /// The id of an event, equal in every delivery to every recipient.
    EventId
}

uuid_id! {
    /// The id of a ride, created by the market at its start.
    RideId
}
uuid_id! {
    /// The id of a seller's till, derived from the seller and the till's name.
    TillId
}

/// The numbers that the store has reserved for the new rows of one batch, taken in ascending order. With
/// several writers they may have gaps; no number is reserved twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdRange {
    /// In descending order, so that the next number can be popped off the end.
    left: Vec<i64>,
    /// The smallest number.
    first: i64,
    /// One more than the largest number.
    end: i64,
}

impl IdRange {
    /// Creates a range of `count` consecutive numbers from `first`.
    pub fn new(first: i64, count: usize) -> Self {
        let end = first.saturating_add(i64::try_from(count).unwrap_or(i64::MAX));
        Self { left: (first..end).rev().collect(), first, end }
    }

    /// Creates a range of the given numbers, in any order.
    pub fn of(mut numbers: Vec<i64>) -> Self {
        numbers.sort_unstable_by_key(|number| std::cmp::Reverse(*number));
        let end = numbers.first().map_or(0, |last| last.saturating_add(1));
        let first = numbers.last().copied().unwrap_or(0);
        Self { left: numbers, first, end }
    }

    /// Takes the next number; `None` if all are taken, which only a defect in the store can cause.
    pub fn take(&mut self) -> Option<i64> {
        self.left.pop()
    }

    /// Returns the next number without taking it; one past the largest if all are taken.
    pub fn next(&self) -> i64 {
        self.left.last().copied().unwrap_or(self.end)
    }

    /// Returns the smallest of all numbers, taken or not; `None` if none were reserved.
    pub fn first(&self) -> Option<i64> {
        (self.first < self.end).then_some(self.first)
    }

    /// Returns the numbers that have not been taken, in descending order.
    pub fn left(&self) -> &[i64] {
        &self.left
    }
}

impl Timestamp {
    /// Returns the time `duration` later, saturating at the largest timestamp.
    pub fn plus(self, duration: std::time::Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Returns the time `duration` earlier, saturating at the smallest timestamp.
    pub fn minus(self, duration: std::time::Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

/// As near as the calendar reaches.
impl From<Timestamp> for time::OffsetDateTime {
    fn from(time: Timestamp) -> Self {
        let end = if time.0 < 0 { time::PrimitiveDateTime::MIN } else { time::PrimitiveDateTime::MAX };
        Self::from_unix_timestamp_nanos(i128::from(time.0) * 1_000).unwrap_or(end.assume_utc())
    }
}

impl From<time::OffsetDateTime> for Timestamp {
    fn from(time: time::OffsetDateTime) -> Self {
        // Not by `unix_timestamp_nanos`: dividing 128 bits takes longer than reading the clock.
        let micros = time.unix_timestamp().saturating_mul(1_000_000);
        Self(micros.saturating_add(i64::from(time.microsecond())))
    }
}
