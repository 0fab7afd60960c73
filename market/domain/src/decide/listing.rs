//! Listing, updating and deleting items.

use super::{Decision, Effect, Rules};
use crate::{
    Audience, EventKind, Item, ItemBefore, ItemId, ItemListing, ItemPatch, NewEvent, Party, Quantity,
    RatingSummary, Refusal, StockChange,
};

impl Rules<'_, '_> {
    /// Lists a new item, unless its SKU is in use by another listed item of the caller.
    pub(super) fn sell(&mut self, caller: &Party, listing: &ItemListing) -> Result<Decision<Item>, Refusal> {
        if let Some(taken) = listing.sku.clone().and_then(|sku| self.rows.skus.get(&(caller.id, sku))) {
            // `skus` contains listed items only, so a deleted item's SKU can be used again.
            return Err(Refusal::SkuTaken(*taken));
        }
        let item = self.new_item(caller, listing);
        Ok(Decision { outcome: item.clone(), effects: vec![Effect::PutItem(item)] })
    }

    pub(super) fn new_item(&mut self, caller: &Party, listing: &ItemListing) -> Item {
        let units = listing.quantity.units();
        Item {
            id: self.next_item_id(),
            seller: caller.id,
            seller_name: caller.display_name.clone(),
            sku: listing.sku.clone(),
            name: listing.name.clone(),
            description: listing.description.clone(),
            category: listing.category.clone(),
            unit_price: listing.unit_price,
            quantity: units,
            supplied: units,
            sold: 0,
            withdrawn: 0,
            rating: RatingSummary::default(),
            version: 1,
            created_at: self.context.now,
            updated_at: self.context.now,
            deleted_at: None,
        }
    }

    /// Updates an item. An update that changes no field keeps the version and sends no notification.
    pub(super) fn update(
        &mut self,
        caller: &Party,
        id: ItemId,
        patch: &ItemPatch,
        expected_version: Option<i64>,
    ) -> Result<Decision<Item>, Refusal> {
        let before = self.own_item(caller, id)?;
        check_version(&before, expected_version)?;
        let mut item = before.clone();
        patch_details(&mut item, patch);
        if let Some(change) = patch.stock {
            change_stock(&mut item, change)?;
        }
        Ok(match self.changed(&before, item) {
            None => Decision { outcome: before, effects: Vec::new() },
            Some((item, event)) => {
                Decision { outcome: item.clone(), effects: vec![Effect::PutItem(item), Effect::Emit(event)] }
            }
        })
    }

    /// Returns the item with its next version, and the event for the buyers who wished for it; `None` if no
    /// field has changed.
    pub(super) fn changed(&mut self, before: &Item, mut item: Item) -> Option<(Item, NewEvent)> {
        let changed_fields = changed_fields(before, &item);
        // Neither a version nor an event: repeated imports of the same file would otherwise notify every
        // buyer.
        if changed_fields.is_empty() {
            return None;
        }
        item.version += 1;
        item.updated_at = self.context.now;
        let kind = EventKind::item_updated(ItemBefore::of(before), item.clone(), changed_fields);
        let event = self.event(Audience::Wishers(item.id), kind);
        Some((item, event))
    }

    /// Takes an item off the market. Its orders stay, and buyers who wished for it are notified.
    pub(super) fn delete(
        &mut self,
        caller: &Party,
        id: ItemId,
        expected_version: Option<i64>,
    ) -> Result<Decision<Item>, Refusal> {
        let before = self.own_item(caller, id)?;
        check_version(&before, expected_version)?;
        let mut item = before.clone();
        // Counts the rest of the stock as withdrawn, so that the item's counts still add up.
        item.set_quantity(0);
        item.version += 1;
        item.updated_at = self.context.now;
        // The row stays: orders, ratings and the feed refer to it.
        item.deleted_at = Some(self.context.now);
        // The outcome shows how many units the deletion withdrew, so its quantity is the one before.
        let mut shown = item.clone();
        shown.quantity = before.quantity;
        let kind = EventKind::ItemWithdrawn {
            item: id,
            item_name: item.name.as_str().to_owned(),
            item_version: item.version,
        };
        let event = self.event(Audience::Wishers(id), kind);
        Ok(Decision { outcome: shown, effects: vec![Effect::PutItem(item), Effect::Emit(event)] })
    }
}

fn check_version(item: &Item, expected: Option<i64>) -> Result<(), Refusal> {
    match expected {
        // The item stays locked, or belongs to the only lane, until the batch is saved: no change can come in
        // between.
        Some(expected) if expected != item.version => {
            Err(Refusal::VersionMismatch { expected, actual: item.version })
        }
        _ => Ok(()),
    }
}

pub(super) fn patch_details(item: &mut Item, patch: &ItemPatch) {
    if let Some(name) = &patch.name {
        item.name = name.clone();
    }
    if let Some(description) = &patch.description {
        item.description = description.clone();
    }
    if let Some(category) = &patch.category {
        item.category = category.clone();
    }
    if let Some(unit_price) = patch.unit_price {
        item.unit_price = unit_price;
    }
}

/// A stock change that would leave the bounds. Separate from [`Refusal`], because a till's line reports it
/// as an outcome instead.
pub(super) struct OutOfRange {
    pub(super) available: i64,
    pub(super) delta: i64,
}

impl From<OutOfRange> for Refusal {
    fn from(OutOfRange { available, delta }: OutOfRange) -> Self {
        Self::StockOutOfRange { available, delta }
    }
}

pub(super) fn change_stock(item: &mut Item, change: StockChange) -> Result<(), OutOfRange> {
    let quantity = match change {
        StockChange::To(quantity) => quantity.units(),
        // Cancelled orders may have taken the stock above its limit. Reducing it from there must be possible.
        StockChange::By(delta) => item
            .quantity
            .checked_add(delta)
            .filter(|quantity| (0..=Quantity::MAX.max(item.quantity)).contains(quantity))
            .ok_or(OutOfRange { available: item.quantity, delta })?,
    };
    item.set_quantity(quantity);
    Ok(())
}

/// Returns the names that the changed fields have in the contract.
fn changed_fields(before: &Item, after: &Item) -> Vec<String> {
    let fields = [
        ("name", before.name != after.name),
        ("description", before.description != after.description),
        ("category", before.category != after.category),
        ("unit_price", before.unit_price != after.unit_price),
        ("quantity", before.quantity != after.quantity),
    ];
    fields.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name.to_owned()).collect()
}
