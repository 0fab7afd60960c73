//! Orders.

use serde::{Deserialize, Serialize};

use super::{
    CancelReason, DisplayName, ItemId, ItemName, Money, OrderId, OrderQuantity, PartyId, RideId, Role,
    Timestamp,
};

/// Where an order stands: placed → shipped → delivered, or placed → cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Bought, and still with the seller.
    Placed,
    /// On its way to the buyer.
    Shipped,
    /// With the buyer.
    Delivered,
    /// Cancelled before it was shipped; the units went back.
    Cancelled,
}

impl OrderStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Placed, Self::Shipped, Self::Delivered, Self::Cancelled];

    /// The status in one lower-case word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Shipped => "shipped",
            Self::Delivered => "delivered",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the purchase stands.
    pub const fn stands(self) -> bool {
        !matches!(self, Self::Cancelled)
    }
}

/// One purchase. Names and price are as they were then, whatever becomes of the item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The order's number.
    pub id: OrderId,
    /// Who bought.
    pub buyer: PartyId,
    /// The buyer's name at the purchase.
    pub buyer_name: DisplayName,
    /// Who sold.
    pub seller: PartyId,
    /// The seller's name at the purchase.
    pub seller_name: DisplayName,
    /// What was bought.
    pub item: ItemId,
    /// The item's name at the purchase.
    pub item_name: ItemName,
    /// The price of one unit at the purchase.
    pub unit_price: Money,
    /// How many units; 1 or more.
    pub quantity: i64,
    /// `unit_price` times `quantity`.
    pub total_price: Money,
    /// Where the order stands.
    pub status: OrderStatus,
    /// When it was bought.
    pub placed_at: Timestamp,
    /// The ride that it is or was on.
    #[serde(default)]
    pub ride: Option<RideId>,
    /// When it was shipped, if it was.
    #[serde(default)]
    pub shipped_at: Option<Timestamp>,
    /// When it was delivered, if it was.
    #[serde(default)]
    pub delivered_at: Option<Timestamp>,
    /// When it was cancelled, if it was.
    pub cancelled_at: Option<Timestamp>,
    /// Which side cancelled it.
    #[serde(default)]
    pub cancelled_by: Option<Role>,
    /// Why the seller cancelled it.
    #[serde(default)]
    pub cancel_reason: Option<CancelReason>,
}

/// Units of one item that are to be bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderLine {
    /// The item.
    pub item: ItemId,
    /// How many units.
    pub quantity: OrderQuantity,
    /// Only at this price.
    pub expected_unit_price: Option<Money>,
}

impl OrderLine {
    /// The most lines that are placed at once: with all of its rows, such a command is still a small part
    /// of a batch.
    pub const MAX_AT_ONCE: usize = 100;
}
