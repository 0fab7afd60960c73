//! Listing, updating and deleting items.

use super::{Decision, Effect, Rules};
use crate::{
    Audience, EventKind, Invalid, Item, ItemBefore, ItemId, ItemListing, ItemPatch, NewEvent, Party,
    Quantity, RankClass, RatingSummary, Refusal, SalesLevel, Sku, StockChange, action,
};

impl Rules<'_, '_> {
    /// Lists a new item, unless its SKU is in use by another listed item of the caller.
    pub(super) fn sell(&mut self, caller: &Party, listing: &ItemListing) -> Result<Decision<Item>, Refusal> {
        self.check_sku(caller, None, listing.sku.as_ref())?;
        let item = self.new_item(caller, listing);
        Ok(Decision { outcome: item.clone(), effects: vec![Effect::PutItem(item)] })
    }

    /// Checks that no other listed item of the caller has the SKU.
    fn check_sku(&self, caller: &Party, item: Option<ItemId>, sku: Option<&Sku>) -> Result<(), Refusal> {
        // `skus` contains listed items only, so a deleted item's SKU can be used again.
        match sku.and_then(|sku| self.rows.skus.get(&(caller.id, sku.clone()))) {
            Some(taken) if Some(*taken) != item => Err(Refusal::SkuTaken(*taken)),
            _ => Ok(()),
        }
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
            sales_level: SalesLevel::default(),
            rank_class: RankClass::default(),
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
        if let Some(sku) = &patch.sku {
            self.set_sku(caller, &mut item, sku)?;
        }
        patch_details(&mut item, patch);
        if let Some(change) = patch.stock {
            change_stock(&mut item, change)?;
        }
        Ok(self.put_changed(&before, item))
    }

    /// Gives an item its SKU. One that has a SKU keeps it: the seller's files and tills know the item by it.
    fn set_sku(&self, caller: &Party, item: &mut Item, sku: &Sku) -> Result<(), Refusal> {
        if let Some(has) = item.sku.as_ref().filter(|has| *has != sku) {
            let problem = format!(
                "is {} and can't be changed; delete the item and list it with the other sku",
                has.as_str()
            );
            return Err(Refusal::InvalidField { field: "item.sku", problem: Invalid::new(problem) });
        }
        self.check_sku(caller, Some(item.id), Some(sku))?;
        item.sku = Some(sku.clone());
        Ok(())
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

    /// Stores an item if anything about it has changed. Buyers who wished for it are notified of changed fields, but not
    /// of a SKU, which concerns only the seller and its tills.
    fn put_changed(&mut self, before: &Item, mut item: Item) -> Decision<Item> {
        if item == *before {
            return Decision { outcome: item, effects: Vec::new() };
        }
        let (item, event) = match self.changed(before, item.clone()) {
            Some((item, event)) => (item, Some(event)),
            None => {
                item.version += 1;
                item.updated_at = self.context.now;
                (item, None)
            }
        };
        let mut effects = vec![Effect::PutItem(item.clone())];
        effects.extend(event.map(Effect::Emit));
        Decision { outcome: item, effects }
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

    /// Puts a withdrawn item back on the market, with everything but its stock as it was.
    pub(super) fn undelete(
        &mut self,
        caller: &Party,
        of: &action::Undelete,
    ) -> Result<Decision<Item>, Refusal> {
        let found = self.rows.items.row(of.item).filter(|item| item.seller == caller.id);
        let before = found.cloned().ok_or(Refusal::ItemNotFound(of.item))?;
        check_version(&before, of.expected_version)?;
        if before.is_listed() {
            let problem = Invalid::new("is on sale already; change its stock with UpdateItem");
            return Err(Refusal::InvalidField { field: "item_id", problem });
        }
        if before.sku != of.sku {
            // It was listed, given a SKU and withdrawn again since its SKU was read. The item that has that SKU now was
            // not loaded, so the caller has to retry.
            return Err(Refusal::VersionMismatch { expected: before.version - 1, actual: before.version });
        }
        self.check_sku(caller, Some(before.id), before.sku.as_ref())?;
        let mut item = before.clone();
        // The withdrawn units stay withdrawn, and these are supplied: the item's counts still add up, and none of
        // them goes back.
        item.set_quantity(of.quantity.units());
        item.deleted_at = None;
        // There are wishers left if the withdrawal has not been reported to all of them yet.
        Ok(self.put_changed(&before, item))
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
