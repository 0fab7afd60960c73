//! Why a command was not carried out. A refusal is a value, not a failure: the market works as it should.

use super::{Invalid, ItemId, Money, OrderId, OrderStatus, PartyId, RideId, Stars, TillName};

/// Why the rules refused a command. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The caller has not registered.
    NotRegistered,
    /// The caller is suspended.
    Suspended,
    /// There is no such party.
    PartyNotFound(PartyId),
    /// The request id was used before with other parameters.
    RequestIdReused,
    /// A value is out of bounds in the light of the present state.
    InvalidField {
        /// The field's name in the request.
        field: &'static str,
        /// What is wrong with it.
        problem: Invalid,
    },
    /// There is no such item for sale, or it belongs to another seller.
    ItemNotFound(ItemId),
    /// Another listed item of the caller's has this number.
    SkuTaken(ItemId),
    /// There is no such order of the caller's.
    OrderNotFound(OrderId),
    /// There is no such ride of the caller's.
    RideNotFound(RideId),
    /// The ride is over.
    RideEnded(RideId),
    /// The caller has no till of this name.
    TillNotFound(TillName),
    /// The caller has [`Till::MAX_OF_SELLER`](super::Till::MAX_OF_SELLER) tills already.
    TooManyTills,
    /// The item is not on the caller's wishlist.
    WishNotFound(ItemId),
    /// Fewer units are left than were asked for.
    OutOfStock {
        /// The item.
        item: ItemId,
        /// Units asked for.
        requested: i64,
        /// Units left.
        available: i64,
    },
    /// The price is not the one that the buyer expects.
    PriceChanged {
        /// The price that the buyer expects.
        expected: Money,
        /// The price as it is.
        actual: Money,
    },
    /// The caller has no standing order of the item.
    NotPurchased(ItemId),
    /// The caller has rated the item before.
    AlreadyRated {
        /// The item.
        item: ItemId,
        /// The earlier rating.
        stars: Stars,
    },
    /// The order's status does not allow it to be cancelled.
    NotCancellable {
        /// The order.
        order: OrderId,
        /// Its status.
        status: OrderStatus,
    },
    /// The order's status does not allow what is asked for.
    WrongStatus {
        /// The order.
        order: OrderId,
        /// Its status.
        status: OrderStatus,
        /// The status that it would have to have.
        needed: OrderStatus,
    },
    /// The item has another version than the seller expects.
    VersionMismatch {
        /// The version that the seller expects.
        expected: i64,
        /// The version as it is.
        actual: i64,
    },
    /// The change would take the stock out of its bounds.
    StockOutOfRange {
        /// Units there are.
        available: i64,
        /// Units to be added (or taken away, when negative).
        delta: i64,
    },
}
