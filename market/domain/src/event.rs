//! What others are told when something happens.

use serde::{Deserialize, Serialize};

use super::{EventId, Item, ItemId, Money, Order, PartyId, Sku, Timestamp};

/// An event as the rules make it, before it is in anyone's mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The event.
    pub event: Event,
    /// Whom to tell.
    pub audience: Audience,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The same in every delivery.
    pub id: EventId,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// What happened.
    pub kind: EventKind,
}

/// Whom an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// One party; its delivery is written together with the event.
    Party(PartyId),
    /// Every buyer who wishes for the item. May be very many, so a task writes the deliveries later.
    Wishers(ItemId),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// An item was bought.
    OrderPlaced {
        /// The order.
        order: Order,
        /// Units left.
        remaining_quantity: i64,
        /// The item's version after it.
        item_version: i64,
        /// The seller's own number of the item.
        #[serde(default)]
        sku: Option<Sku>,
    },
    /// An order was cancelled.
    OrderCancelled {
        /// The order.
        order: Order,
        /// Units there are now.
        remaining_quantity: i64,
        /// The item's version after it.
        item_version: i64,
        /// The seller's own number of the item.
        #[serde(default)]
        sku: Option<Sku>,
    },
    /// An order is on its way.
    OrderShipped {
        /// The order.
        order: Order,
    },
    /// An order has reached its buyer.
    OrderDelivered {
        /// The order.
        order: Order,
    },
    /// An item was changed by its seller.
    ItemUpdated {
        /// The item after the change.
        item: Item,
        /// Names of the changed fields, as in the contract.
        changed_fields: Vec<String>,
        /// What it cost before, if it is cheaper now.
        #[serde(default)]
        previous_price: Option<Money>,
        /// Whether it was sold out before and is not now.
        #[serde(default)]
        back_in_stock: bool,
    },
    /// An item was taken off the market.
    ItemWithdrawn {
        /// The item.
        item: ItemId,
        /// Its name.
        item_name: String,
        /// Its last version.
        item_version: i64,
    },
    /// Somebody tries out the way to a mailbox.
    Test {
        /// What they wrote.
        text: String,
    },
}

/// What a later event makes an earlier one needless for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// An item as it is now.
    Item(ItemId),
    /// Whether anything arrives at all.
    Test,
}

impl Topic {
    /// As a number that is another for each topic: items count from 1.
    pub fn number(self) -> i64 {
        match self {
            Self::Item(item) => item.0,
            Self::Test => 0,
        }
    }
}

impl EventKind {
    /// What the event tells the latest of. Of several undelivered updates of one item, or test events, a
    /// recipient needs only the last; orders are delivered one by one.
    pub fn coalesces_by(&self) -> Option<Topic> {
        match self {
            Self::ItemUpdated { item, .. } => Some(Topic::Item(item.id)),
            Self::ItemWithdrawn { item, .. } => Some(Topic::Item(*item)),
            Self::Test { .. } => Some(Topic::Test),
            Self::OrderPlaced { .. }
            | Self::OrderShipped { .. }
            | Self::OrderDelivered { .. }
            | Self::OrderCancelled { .. } => None,
        }
    }

    /// Whether the event is about an order, and so kept much longer than an update.
    pub fn is_order(&self) -> bool {
        match self {
            Self::OrderPlaced { .. }
            | Self::OrderShipped { .. }
            | Self::OrderDelivered { .. }
            | Self::OrderCancelled { .. } => true,
            Self::ItemUpdated { .. } | Self::ItemWithdrawn { .. } | Self::Test { .. } => false,
        }
    }

    /// The kind in one word, for logs and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::OrderPlaced { .. } => "order_placed",
            Self::OrderShipped { .. } => "order_shipped",
            Self::OrderDelivered { .. } => "order_delivered",
            Self::OrderCancelled { .. } => "order_cancelled",
            Self::ItemUpdated { .. } => "item_updated",
            Self::ItemWithdrawn { .. } => "item_withdrawn",
            Self::Test { .. } => "test",
        }
    }
}
