//! Orders.

use serde::{Deserialize, Serialize};

use super::{DisplayName, ItemId, ItemName, Money, OrderId, PartyId, Timestamp};

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Bought, and not cancelled.
    Placed,
    /// Cancelled by the buyer; the units went back.
    Cancelled,
}

impl OrderStatus {
    /// The status in one lower-case word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Cancelled => "cancelled",
        }
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
    /// When it was cancelled, if it was.
    pub cancelled_at: Option<Timestamp>,
}
