//! What comes of commands.

use serde::{Deserialize, Serialize};

use super::{EventId, Imported, Item, LineAnswer, Order, Party, RatingSummary, Ride, Till, Wish};

/// What came of a command that was carried out. Kept with the request id, so that a replay is answered
/// with the very same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The party as registered.
    Registered(Party),
    /// The party as suspended or reinstated.
    Party(Party),
    /// The item as listed, changed or deleted (its quantity then being what was withdrawn).
    Item(Item),
    /// What came of an import's rows.
    Imported(Imported),
    /// The order as placed, shipped, delivered or cancelled.
    Order(Order),
    /// The orders as placed, in the order of the lines.
    Orders(Vec<Order>),
    /// The ride as started or ended.
    Ride(Ride),
    /// The till as it is.
    Till(Till),
    /// The till is gone.
    TillRemoved,
    /// The answers to a till's lines.
    Synced(Vec<LineAnswer>),
    /// The wish, and the item that it is for.
    Wished(Wish, Item),
    /// The wish is gone.
    Unwished,
    /// All ratings of the item.
    Rated(RatingSummary),
    /// The event that is on its way.
    Tested(EventId),
}

/// A registration that was made or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered(pub Party);

/// A till is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TillRemoved;

/// A wish, and the item that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wished(pub Wish, pub Item);

/// A wish is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwished;

/// Ties a type to a variant: the one place where outcomes are put together and taken apart. What is of another kind
/// comes back whole.
macro_rules! outcomes {
    ($($type:ty: $value:tt $outcome:tt,)+) => {
        $(outcomes!(@ $type, $value, $outcome);)+
    };
    (@ $type:ty, ($($value:tt)+), ($($outcome:tt)+)) => {
        impl From<$type> for Outcome {
            fn from($($value)+: $type) -> Self {
                Self::$($outcome)+
            }
        }

        impl TryFrom<Outcome> for $type {
            type Error = Outcome;

            fn try_from(outcome: Outcome) -> Result<Self, Outcome> {
                match outcome {
                    Outcome::$($outcome)+ => Ok($($value)+),
                    other => Err(other),
                }
            }
        }
    };
}

outcomes! {
    Registered: (Registered(party)) (Registered(party)),
    Party: (party) (Party(party)),
    Item: (item) (Item(item)),
    Imported: (imported) (Imported(imported)),
    Order: (order) (Order(order)),
    Vec<Order>: (orders) (Orders(orders)),
    Ride: (ride) (Ride(ride)),
    Till: (till) (Till(till)),
    TillRemoved: (TillRemoved) (TillRemoved),
    Vec<LineAnswer>: (answers) (Synced(answers)),
    Wished: (Wished(wish, item)) (Wished(wish, item)),
    Unwished: (Unwished) (Unwished),
    RatingSummary: (rating) (Rated(rating)),
    EventId: (event) (Tested(event)),
}
