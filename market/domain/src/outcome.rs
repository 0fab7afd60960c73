//! Outcomes: the results of commands.

use serde::{Deserialize, Serialize};

use super::{EventId, Imported, Item, LineAnswer, Order, Party, RatingSummary, Ride, Till, Wish};

/// The result of a command that was carried out. It is stored under the request id, so that a replay returns
/// the same result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The party as registered.
    Registered(Party),
    /// The party as suspended or reinstated.
    Party(Party),
    /// The item as listed, changed or deleted. For a deleted item, the quantity is the number of units that
    /// the deletion withdrew.
    Item(Item),
    /// How many of an import's rows created, changed or kept an item.
    Imported(Imported),
    /// The order as placed, shipped, delivered or cancelled.
    Order(Order),
    /// The orders as placed, in the order of the lines.
    Orders(Vec<Order>),
    /// The ride as started or ended.
    Ride(Ride),
    /// The till as opened, or as it was if it was open.
    Till(Till),
    /// The till has been removed.
    TillRemoved,
    /// One answer for each line of the till, in order.
    Synced(Vec<LineAnswer>),
    /// The wish, and the item that was wished for.
    Wished(Wish, Item),
    /// The item is no longer on the wishlist.
    Unwished,
    /// The item's rating summary, including the new rating.
    Rated(RatingSummary),
    /// The id of the test event.
    Tested(EventId),
    /// The number of dead letters that were redelivered.
    Redelivered(i64),
    /// The number of items whose rank class was changed. Never stored.
    Ranked(i64),
}

/// The party after a registration that was made or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered(pub Party);

/// The outcome of removing a till.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TillRemoved;

/// The wish, and the item that was wished for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wished(pub Wish, pub Item);

/// The outcome of removing an item from the wishlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwished;

/// The number of dead letters that were redelivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redelivered(pub i64);

/// The number of items whose rank class was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranked(pub i64);

/// Implements the conversions between each outcome type and its variant of [`Outcome`]. A conversion from
/// another variant returns the outcome unchanged as the error.
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
    Redelivered: (Redelivered(count)) (Redelivered(count)),
    Ranked: (Ranked(count)) (Ranked(count)),
}
