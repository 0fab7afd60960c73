//! Items, and what a seller may say of them.

use serde::{Deserialize, Serialize};

use super::{
    Category, Description, DisplayName, ItemId, ItemName, Money, PartyId, Quantity, RatingSummary, Sku,
    Timestamp,
};

/// Something that is or was for sale. Items are never erased: orders refer to them.
///
/// Units are accounted for: `supplied = sold + quantity + withdrawn` holds at all times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The item's number.
    pub id: ItemId,
    /// Who sells it.
    pub seller: PartyId,
    /// The seller's display name.
    pub seller_name: DisplayName,
    /// The seller's own number, if it gave one. No two listed items of a seller have the same.
    #[serde(default)]
    pub sku: Option<Sku>,
    /// One line.
    pub name: ItemName,
    /// May be empty.
    pub description: Description,
    /// Where it belongs.
    pub category: Category,
    /// The price of one unit.
    pub unit_price: Money,
    /// Units that can be bought now.
    pub quantity: i64,
    /// Units ever listed or restocked.
    pub supplied: i64,
    /// Units in standing orders.
    pub sold: i64,
    /// Units that the seller took away, by lowering the stock or deleting the item.
    pub withdrawn: i64,
    /// What buyers think of it.
    pub rating: RatingSummary,
    /// Counts the changes of the row from 1.
    pub version: i64,
    /// When it was listed.
    pub created_at: Timestamp,
    /// When its seller last changed it.
    pub updated_at: Timestamp,
    /// When it was taken off the market, if it was.
    pub deleted_at: Option<Timestamp>,
}

impl Item {
    /// Whether the item is on the market, sold out or not.
    pub fn is_listed(&self) -> bool {
        self.deleted_at.is_none()
    }

    /// Whether a search would find the two differently. Stock counts only by being there or not, so
    /// that a purchase rarely touches the search index.
    pub fn search_differs(&self, other: &Self) -> bool {
        self.name != other.name
            || self.sku != other.sku
            || self.description != other.description
            || self.category != other.category
            || self.unit_price != other.unit_price
            || self.rating != other.rating
            || self.deleted_at != other.deleted_at
            || (self.quantity > 0) != (other.quantity > 0)
    }

    /// Whether every unit is accounted for and no count is negative.
    pub fn is_balanced(&self) -> bool {
        self.quantity >= 0
            && self.sold >= 0
            && self.withdrawn >= 0
            && self.supplied == self.sold + self.quantity + self.withdrawn
    }

    /// Sets the stock, counting the difference as restocked or withdrawn.
    pub(super) fn set_quantity(&mut self, quantity: i64) {
        let difference = quantity - self.quantity;
        if difference >= 0 {
            self.supplied += difference;
        } else {
            self.withdrawn -= difference;
        }
        self.quantity = quantity;
    }
}

/// A new item, as its seller describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemListing {
    /// The seller's own number.
    pub sku: Option<Sku>,
    /// One line.
    pub name: ItemName,
    /// May be empty.
    pub description: Description,
    /// Where it belongs.
    pub category: Category,
    /// The price of one unit.
    pub unit_price: Money,
    /// Units for sale; 1 or more, but in an import.
    pub quantity: Quantity,
}

/// A row of an import: an item as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRow {
    /// Where it stands in the seller's file, for messages.
    pub line: i64,
    /// Which item; without it, the one with the listing's own number, or a new one.
    pub item: Option<ItemId>,
    /// All of the item.
    pub listing: ItemListing,
}

impl ImportRow {
    /// The most rows that are carried out as one command.
    pub const MAX_AT_ONCE: usize = 200;
}

/// What came of the rows of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Items that were listed.
    pub created: i64,
    /// Items that were changed.
    pub updated: i64,
    /// Items that were that way already.
    pub unchanged: i64,
    /// The lines that name an item that is none of the caller's.
    pub not_found: Vec<i64>,
}

/// What a seller changes of an item; `None` leaves as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemPatch {
    /// A new name.
    pub name: Option<ItemName>,
    /// A new description.
    pub description: Option<Description>,
    /// Another category.
    pub category: Option<Category>,
    /// A new price.
    pub unit_price: Option<Money>,
    /// A change of the stock.
    pub stock: Option<StockChange>,
}

/// How a seller changes the stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StockChange {
    /// To this many units, whatever there were.
    To(Quantity),
    /// By this many units, so that purchases in between are kept.
    By(i64),
}
