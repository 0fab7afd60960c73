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
    /// An item, numbered by the market from 1 up and never used again; 0 stands for one that was only
    /// checked (`validate_only`).
    ItemId
}
number_id! {
    /// An order, numbered by the market from 1 up and never used again; 0 stands for one that was only
    /// checked (`validate_only`).
    OrderId
}
number_id! {
    /// A delivery's place in its recipient's mailbox, from 1 up. Grows by recipient and may skip
    /// numbers; 0 stands before the first.
    Sequence
}
number_id! {
    /// A point in time, in microseconds since 1970-01-01T00:00:00Z.
    Timestamp
}
uuid_id! {
    /// A seller, buyer or operator: the UUID in its certificate.
    PartyId
}
uuid_id! {
    /// A client's idempotency key for one mutating call (AIP-155); unique per caller.
    RequestId
}
uuid_id! {
    /// An event: the same in every delivery to every recipient.
    EventId
}

uuid_id! {
    /// A ride.
    RideId
}
uuid_id! {
    /// A seller's till.
    TillId
}

/// Numbers that the store has set aside for the rows of one batch, smallest first. A store that gives them to
/// several writers at once may leave gaps between them; none is ever used twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdRange {
    /// Largest first, so that the next one is at the end.
    left: Vec<i64>,
    /// What comes after the last one.
    end: i64,
}

impl IdRange {
    /// The numbers from `first` up, `count` of them.
    pub fn new(first: i64, count: usize) -> Self {
        let end = first.saturating_add(i64::try_from(count).unwrap_or(i64::MAX));
        Self { left: (first..end).rev().collect(), end }
    }

    /// These numbers.
    pub fn of(mut numbers: Vec<i64>) -> Self {
        numbers.sort_unstable_by_key(|number| std::cmp::Reverse(*number));
        let end = numbers.first().map_or(0, |last| last.saturating_add(1));
        Self { left: numbers, end }
    }

    /// Takes the next number; `None` when all are taken, which only a defect of the store can cause.
    pub fn take(&mut self) -> Option<i64> {
        self.left.pop()
    }

    /// The first number that has not been taken.
    pub fn next(&self) -> i64 {
        self.left.last().copied().unwrap_or(self.end)
    }

    /// All numbers that have not been taken.
    pub fn left(&self) -> &[i64] {
        &self.left
    }
}

impl Timestamp {
    /// The time that lies `duration` after this one, or the last one there is.
    pub fn plus(self, duration: std::time::Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The time that lies `duration` before this one, or the first one there is.
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
        Self(i64::try_from(time.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX))
    }
}
