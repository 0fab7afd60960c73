//! Orders and their life cycle.

use serde::{Deserialize, Serialize};

use super::{
    CancelReason, DisplayName, ItemId, ItemName, Money, OrderId, OrderQuantity, PartyId, RideId, Role,
    Timestamp,
};

/// The state of an order: placed → shipped → delivered, or placed → cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Bought but not shipped. The only state in which either side can cancel.
    Placed,
    /// Handed over for delivery by the seller.
    Shipped,
    /// Received by the buyer; final.
    Delivered,
    /// Cancelled before it was shipped; the units have been returned to the item. Final.
    Cancelled,
}

impl OrderStatus {
    /// Every status, in the order of the life cycle.
    pub const ALL: [Self; 4] = [Self::Placed, Self::Shipped, Self::Delivered, Self::Cancelled];

    /// Returns the status as one lower-case word, as stored and logged.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Shipped => "shipped",
            Self::Delivered => "delivered",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns whether the purchase still counts, that is, it has not been cancelled.
    pub const fn stands(self) -> bool {
        !matches!(self, Self::Cancelled)
    }
}

/// One purchase of one item. Names and price are a snapshot taken at the purchase, and later changes of
/// the item do not affect them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The order's number, given by the market.
    pub id: OrderId,
    /// The buyer's party id.
    pub buyer: PartyId,
    /// The buyer's display name at the time of purchase.
    pub buyer_name: DisplayName,
    /// The seller's party id.
    pub seller: PartyId,
    /// The seller's display name at the time of purchase.
    pub seller_name: DisplayName,
    /// The item that was bought, which may have been deleted since.
    pub item: ItemId,
    /// The item's name at the time of purchase.
    pub item_name: ItemName,
    /// The price of one unit at the time of purchase.
    pub unit_price: Money,
    /// The number of units, at least 1.
    pub quantity: i64,
    /// The total: `unit_price` times `quantity`. May exceed the highest price.
    pub total_price: Money,
    /// The order's place in its life cycle.
    pub status: OrderStatus,
    /// When the order was placed.
    pub placed_at: Timestamp,
    /// The ride that carries or carried it; `None` if it was shipped without one.
    #[serde(default)]
    pub ride: Option<RideId>,
    /// When it was shipped; `None` before that.
    #[serde(default)]
    pub shipped_at: Option<Timestamp>,
    /// When it was delivered; `None` before that.
    #[serde(default)]
    pub delivered_at: Option<Timestamp>,
    /// When it was cancelled; `None` if it was not.
    pub cancelled_at: Option<Timestamp>,
    /// The side that cancelled it; `None` if it was not cancelled.
    #[serde(default)]
    pub cancelled_by: Option<Role>,
    /// The seller's reason; `None` unless the seller cancelled it.
    #[serde(default)]
    pub cancel_reason: Option<CancelReason>,
}

/// A request to buy units of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderLine {
    /// The item to buy.
    pub item: ItemId,
    /// The number of units to buy.
    pub quantity: OrderQuantity,
    /// Refuse the purchase unless the unit price equals this one.
    pub expected_unit_price: Option<Money>,
}

impl Order {
    /// Returns the order as it was when it was placed.
    #[must_use]
    pub fn as_placed(self) -> Self {
        Self {
            status: OrderStatus::Placed,
            ride: None,
            shipped_at: None,
            delivered_at: None,
            cancelled_at: None,
            cancelled_by: None,
            cancel_reason: None,
            ..self
        }
    }

    /// Returns when the order reached its final state; `None` before that.
    pub fn finished_at(&self) -> Option<Timestamp> {
        match self.status {
            OrderStatus::Placed | OrderStatus::Shipped => None,
            OrderStatus::Delivered => self.delivered_at,
            OrderStatus::Cancelled => self.cancelled_at,
        }
    }
}

impl OrderLine {
    /// The maximum number of lines in one command. With all its rows, such a command is still a small part
    /// of a batch.
    pub const MAX_AT_ONCE: usize = 100;
}
