//! Events: what parties are notified of.

use serde::{Deserialize, Serialize};

use super::{EventId, Item, ItemBefore, ItemId, Money, Order, PartyId, Sku, Timestamp};

/// An event as created by the rules, before it is delivered to any mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The event, equal for all recipients.
    pub event: Event,
    /// The recipient or recipients.
    pub audience: Audience,
}

/// A change that a party is notified of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The same in every delivery, so that recipients can drop repetitions.
    pub id: EventId,
    /// When the change was decided.
    pub occurred_at: Timestamp,
    /// The kind of change, with its data.
    pub kind: EventKind,
}

/// The recipients of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// One party. Its delivery is written in the transaction of the event.
    Party(PartyId),
    /// Every buyer who has the item on the wishlist. There may be very many, so a background task writes the
    /// deliveries later (the expander), and an update never pays for them.
    Wishers(ItemId),
}

/// The kind of an event, with its data. Stored as JSON: fields added later need a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// An item was bought. Its seller and the seller's tills are notified.
    OrderPlaced {
        /// The order as placed.
        order: Order,
        /// The units in stock after the purchase.
        remaining_quantity: i64,
        /// The item's version after the purchase.
        item_version: i64,
        /// The seller's own number for the item.
        #[serde(default)]
        sku: Option<Sku>,
    },
    /// An order was cancelled. The other side and the seller's tills are notified.
    OrderCancelled {
        /// The order as cancelled.
        order: Order,
        /// The units in stock after the cancellation.
        remaining_quantity: i64,
        /// The item's version after the cancellation.
        item_version: i64,
        /// The seller's own number for the item.
        #[serde(default)]
        sku: Option<Sku>,
    },
    /// An order was shipped, alone or on a ride. Its buyer is notified.
    OrderShipped {
        /// The order as shipped.
        order: Order,
    },
    /// An order was delivered, alone or at the end of a ride. Its buyer is notified.
    OrderDelivered {
        /// The order as delivered.
        order: Order,
    },
    /// An item was changed by its seller. The buyers who wish for it are notified.
    ItemUpdated {
        /// The item after the change.
        item: Item,
        /// The names of the changed fields in the contract.
        changed_fields: Vec<String>,
        /// The previous price; `None` unless the item became cheaper.
        #[serde(default)]
        previous_price: Option<Money>,
        /// Whether the item was sold out before the change and is in stock after it.
        #[serde(default)]
        back_in_stock: bool,
        /// The state before the change, against which a later update is compared if it is merged with this
        /// one. `None` in events of markets that did not record it. Not shown to recipients.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<ItemBefore>,
    },
    /// An item was taken off the market. The buyers who wish for it are notified.
    ItemWithdrawn {
        /// The item that was deleted.
        item: ItemId,
        /// The item's last name.
        item_name: String,
        /// The item's version after the deletion.
        item_version: i64,
    },
    /// A party tests the delivery to its own mailbox.
    Test {
        /// The text from the request.
        text: String,
    },
}

/// What an event is about, for coalescing: a later event on the same topic is merged with an undelivered
/// earlier one ([`Event::merge`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// The current state of an item.
    Item(ItemId),
    /// Whether deliveries arrive at all.
    Test,
}

impl Topic {
    /// Returns a number that is unique per topic. Item numbers begin at 1, so 0 is free for tests.
    pub fn number(self) -> i64 {
        match self {
            Self::Item(item) => item.0,
            Self::Test => 0,
        }
    }
}

impl EventKind {
    /// Returns the topic by which the event coalesces; `None` if it is always delivered.
    ///
    /// Of several undelivered updates of one item, or test events, a recipient needs only one. Every order
    /// event is delivered.
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

    /// Returns whether the event is about an order. Such events have a much longer retention than updates.
    pub fn is_order(&self) -> bool {
        match self {
            Self::OrderPlaced { .. }
            | Self::OrderShipped { .. }
            | Self::OrderDelivered { .. }
            | Self::OrderCancelled { .. } => true,
            Self::ItemUpdated { .. } | Self::ItemWithdrawn { .. } | Self::Test { .. } => false,
        }
    }

    /// Returns the kind as one word, for logs and metrics.
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
