//! Items, and the changes that their seller can request.

use serde::{Deserialize, Serialize};

use super::{
    Category, Description, DisplayName, ItemId, ItemName, Money, PartyId, Quantity, RankClass, RatingSummary,
    SalesLevel, Sku, Timestamp,
};

/// An item that is or was for sale. Items are never erased, because orders refer to them.
///
/// Invariant: `supplied = sold + quantity + withdrawn`, and none of them is negative.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The item's number, given by the market.
    pub id: ItemId,
    /// The seller's party id.
    pub seller: PartyId,
    /// The seller's display name at the time when the item was read. It follows the seller's registration.
    pub seller_name: DisplayName,
    /// The seller's own number, if it gave one. Unique among the seller's listed items.
    #[serde(default)]
    pub sku: Option<Sku>,
    /// The name, which is one line.
    pub name: ItemName,
    /// The description, which may be empty.
    pub description: Description,
    /// The category path, such as `electronics/audio`.
    pub category: Category,
    /// The price of one unit.
    pub unit_price: Money,
    /// The units that can be bought now.
    pub quantity: i64,
    /// The units ever listed or restocked. It only grows.
    pub supplied: i64,
    /// The units in orders that were not cancelled.
    pub sold: i64,
    /// The units that the seller removed by lowering the stock or deleting the item.
    pub withdrawn: i64,
    /// The summary of the buyers' ratings.
    pub rating: RatingSummary,
    /// How much of it was sold recently, as of the last daily sweep.
    #[serde(default)]
    pub sales_level: SalesLevel,
    /// How good it is compared with others that match a search equally well. Follows from the two above.
    #[serde(default)]
    pub rank_class: RankClass,
    /// The number of changes to the row, from 1. Purchases and ratings count too, changes of the rank class don't.
    pub version: i64,
    /// When the item was listed.
    pub created_at: Timestamp,
    /// When the seller last changed it. Purchases and ratings leave it.
    pub updated_at: Timestamp,
    /// When it was taken off the market; `None` while it is listed.
    pub deleted_at: Option<Timestamp>,
}

impl Item {
    /// Returns whether the item is on the market. A sold-out item is listed too.
    pub fn is_listed(&self) -> bool {
        self.deleted_at.is_none()
    }

    /// Returns whether the two versions differ in anything that searches look at. Of the stock, that is only whether
    /// there is any, so that a purchase rarely moves the feed.
    pub fn search_differs(&self, other: &Self) -> bool {
        self.name != other.name
            || self.sku != other.sku
            || self.description != other.description
            || self.category != other.category
            || self.unit_price != other.unit_price
            || self.rating != other.rating
            || self.rank_class != other.rank_class
            || self.deleted_at != other.deleted_at
            || (self.quantity > 0) != (other.quantity > 0)
    }

    /// Returns whether the invariant of the counts holds.
    pub fn is_balanced(&self) -> bool {
        self.quantity >= 0
            && self.sold >= 0
            && self.withdrawn >= 0
            && self.supplied == self.sold + self.quantity + self.withdrawn
    }

    /// Sets the ratings, and the rank class that follows.
    pub(super) fn set_rating(&mut self, rating: RatingSummary) {
        self.rating = rating;
        self.rank_class = RankClass::of(rating, self.sales_level);
    }

    /// Sets how much was sold recently, and the rank class that follows.
    pub(super) fn set_sales_level(&mut self, level: SalesLevel) {
        self.sales_level = level;
        self.rank_class = RankClass::of(self.rating, level);
    }

    /// Sets the stock and counts the difference as supplied or withdrawn, which keeps the invariant.
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

/// What an update is compared with: the part of an item's state before it that decides what the update
/// reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemBefore {
    /// The price; `None` if it is unknown, because an older market wrote the event. Then no reduction is
    /// reported.
    pub unit_price: Option<Money>,
    /// Whether no unit was for sale.
    pub is_sold_out: bool,
}

impl ItemBefore {
    pub(super) fn of(item: &Item) -> Self {
        Self { unit_price: Some(item.unit_price), is_sold_out: item.quantity == 0 }
    }
}

/// A new item, as its seller describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemListing {
    /// The seller's own number, unique among its listed items; `None` for none.
    pub sku: Option<Sku>,
    /// The name, which is one line.
    pub name: ItemName,
    /// The description, which may be empty.
    pub description: Description,
    /// The category path, such as `electronics/audio`.
    pub category: Category,
    /// The price of one unit.
    pub unit_price: Money,
    /// The units for sale: at least 1, except in an import, which may list a sold-out item.
    pub quantity: Quantity,
}

/// A row of an import: the desired state of one item. A property that the row does not have stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRow {
    /// The line number in the seller's file, for messages.
    pub line: i64,
    /// The item to change. Without it, the item is found by its SKU, or a new one is listed.
    pub item: Option<ItemId>,
    /// The seller's own number of the item.
    pub sku: Option<Sku>,
    /// The desired name.
    pub name: Option<ItemName>,
    /// The desired description. Unlike `None`, an empty one removes the item's.
    pub description: Option<Description>,
    /// The desired category path.
    pub category: Option<Category>,
    /// The desired price of one unit.
    pub unit_price: Option<Money>,
    /// The desired stock, which is absolute, so that importing a file twice changes nothing the second time.
    pub quantity: Option<Quantity>,
}

impl ImportRow {
    /// The maximum number of rows in one command.
    pub const MAX_AT_ONCE: usize = 200;

    /// Returns a row that has all properties of an item.
    pub fn of(line: i64, listing: ItemListing) -> Self {
        let ItemListing { sku, name, description, category, unit_price, quantity } = listing;
        Self {
            line,
            item: None,
            sku,
            name: Some(name),
            description: Some(description),
            category: Some(category),
            unit_price: Some(unit_price),
            quantity: Some(quantity),
        }
    }

    /// Returns whether the row has every property that a new item must have.
    pub fn is_complete(&self) -> bool {
        self.name.is_some() && self.category.is_some() && self.unit_price.is_some() && self.quantity.is_some()
    }

    /// Returns the new item that the row describes; `None` if it lacks a property that a new item must have.
    pub fn listing(&self) -> Option<ItemListing> {
        Some(ItemListing {
            sku: self.sku.clone(),
            name: self.name.clone()?,
            description: self.description.clone().unwrap_or_default(),
            category: self.category.clone()?,
            unit_price: self.unit_price?,
            quantity: self.quantity?,
        })
    }
}

/// The result of an import's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// The number of items that were listed.
    pub created: i64,
    /// The number of items that were changed.
    pub updated: i64,
    /// The number of items that already had the desired state.
    pub unchanged: i64,
    /// The line numbers of rows that name an item which the caller does not have.
    pub not_found: Vec<i64>,
    /// The line numbers of rows for a new item that lack a property which it must have.
    #[serde(default)]
    pub incomplete: Vec<i64>,
}

/// The fields of an item to change. `None` keeps the current value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemPatch {
    /// The SKU, for an item that has none yet.
    pub sku: Option<Sku>,
    /// The new name of the item.
    pub name: Option<ItemName>,
    /// The new description, which may be empty.
    pub description: Option<Description>,
    /// The new category path.
    pub category: Option<Category>,
    /// The new price of one unit.
    pub unit_price: Option<Money>,
    /// The change to the stock.
    pub stock: Option<StockChange>,
}

/// A change to an item's stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StockChange {
    /// Sets the stock to this many units, which overwrites concurrent purchases.
    To(Quantity),
    /// Adds this many units (negative to remove), which keeps concurrent purchases.
    By(i64),
}
