//! The wishlist: items whose changes a buyer wants to be notified of.

use serde::{Deserialize, Serialize};

use super::{ItemId, PartyId, Timestamp};

/// An item on a buyer's wishlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The buyer, who is notified when the item changes.
    pub buyer: PartyId,
    /// The item that the buyer wished for.
    pub item: ItemId,
    /// When the buyer added the item.
    pub added_at: Timestamp,
}
