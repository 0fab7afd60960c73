//! Refusals: why the rules did not carry out a command. A refusal is an outcome, not a failure of the market.

use super::{Invalid, ItemId, Money, OrderId, OrderStatus, PartyId, RideId, Stars, TillName};

/// Why the rules refused a command. A refused command has changed nothing, and its request id is free again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The caller has a valid certificate but has not registered.
    NotRegistered,
    /// The caller is suspended and may not change anything.
    Suspended,
    /// No party is registered under this id.
    PartyNotFound(PartyId),
    /// Another party has the display name, or one that looks like it. The caller does not learn which party.
    DisplayNameTaken,
    /// The caller used the request id before with other parameters.
    RequestIdReused,
    /// A field is valid by itself but not in the current state.
    InvalidField {
        /// The field's name in the request.
        field: &'static str,
        /// The problem, worded to follow the field's name.
        problem: Invalid,
    },
    /// No such item is for sale, or it belongs to another seller. The two are indistinguishable on purpose.
    ItemNotFound(ItemId),
    /// This listed item of the caller already has the requested SKU.
    SkuTaken(ItemId),
    /// The caller has no such order.
    OrderNotFound(OrderId),
    /// The caller has no such ride.
    RideNotFound(RideId),
    /// The ride has already ended.
    RideEnded(RideId),
    /// The caller has no till with this name.
    TillNotFound(TillName),
    /// The caller already has [`Till::MAX_OF_SELLER`](super::Till::MAX_OF_SELLER) tills.
    TooManyTills,
    /// The item is not on the caller's wishlist.
    WishNotFound(ItemId),
    /// Fewer units are in stock than requested.
    OutOfStock {
        /// The item that is short.
        item: ItemId,
        /// The units requested, summed over the lines of the order.
        requested: i64,
        /// The units in stock when the command was decided.
        available: i64,
    },
    /// The price differs from the expected price.
    PriceChanged {
        /// The unit price that the buyer expects.
        expected: Money,
        /// The current unit price.
        actual: Money,
    },
    /// The caller has no order of the item that was not cancelled.
    NotPurchased(ItemId),
    /// The caller has rated the item before and did not ask to replace the rating.
    AlreadyRated {
        /// The item that was rated.
        item: ItemId,
        /// The caller's earlier rating, which stays.
        stars: Stars,
    },
    /// The order can't be cancelled in its current status.
    NotCancellable {
        /// The order to be cancelled.
        order: OrderId,
        /// The status that prevents it.
        status: OrderStatus,
    },
    /// The order's status does not allow the requested step.
    WrongStatus {
        /// The order to be changed.
        order: OrderId,
        /// The order's current status.
        status: OrderStatus,
        /// The status that the step requires.
        needed: OrderStatus,
    },
    /// The item's version differs from the expected version.
    VersionMismatch {
        /// The version that the seller expects.
        expected: i64,
        /// The item's current version.
        actual: i64,
    },
    /// The change would make the stock negative or exceed its limit.
    StockOutOfRange {
        /// The units in stock when the command was decided.
        available: i64,
        /// The requested difference in units, negative for a removal.
        delta: i64,
    },
}
