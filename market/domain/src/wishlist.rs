//! Wishlists.

use serde::{Deserialize, Serialize};

use super::{ItemId, PartyId, Timestamp};

/// An item on a buyer's wishlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Who wishes.
    pub buyer: PartyId,
    /// For what.
    pub item: ItemId,
    /// Since when.
    pub added_at: Timestamp,
}
