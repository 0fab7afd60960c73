//! Imports: the desired state of many items, from a seller's file.

use super::{Decision, Effect, Rules, listing::patch_details};
use crate::{ImportRow, Imported, Item, ItemId, ItemListing, ItemPatch, Party};

impl Rules<'_, '_> {
    /// Brings each item to the state of its row: lists it, changes it, or keeps it if it already matches.
    ///
    /// A row that names an item which the caller does not have is skipped and reported; the other rows take
    /// effect all the same.
    pub(super) fn import(&mut self, caller: &Party, rows: &[ImportRow]) -> Decision<Imported> {
        let mut imported = Imported::default();
        // Effects are applied only after the rule returns, so later rows look up the items of earlier ones
        // here.
        let mut effects: Vec<Effect> = Vec::with_capacity(rows.len());
        for row in rows {
            match self.named(caller, row, &effects) {
                // Not a refusal: it would undo the other rows of the batch.
                Err(()) => imported.not_found.push(row.line),
                Ok(None) => {
                    let item = self.new_item(caller, &row.listing);
                    effects.push(Effect::PutItem(item));
                    imported.created += 1;
                }
                Ok(Some(before)) => match self.changed(&before, as_listed(&before, &row.listing)) {
                    None => imported.unchanged += 1,
                    Some((item, event)) => {
                        effects.extend([Effect::PutItem(item), Effect::Emit(event)]);
                        imported.updated += 1;
                    }
                },
            }
        }
        Decision { outcome: imported, effects }
    }

    /// Finds the item that a row refers to, including those written by earlier rows. Returns `None` for a new
    /// item and an error for one that the caller does not have.
    fn named(&self, caller: &Party, row: &ImportRow, effects: &[Effect]) -> Result<Option<Item>, ()> {
        let is_meant = |item: &Item| match row.item {
            Some(id) => item.id == id,
            // Rows without SKU never match: two such rows are two items, not one.
            None => item.sku.is_some() && item.sku == row.listing.sku,
        };
        let written = effects.iter().rev().find_map(|effect| match effect {
            // In reverse, because of several changes of one item the last one counts.
            Effect::PutItem(item) if is_meant(item) => Some(item),
            _ => None,
        });
        if let Some(item) = written {
            return Ok(Some(item.clone()));
        }
        let by_number = |id: ItemId| self.own_item(caller, id).map(Some).map_err(|_| ());
        match (row.item, row.listing.sku.clone()) {
            (Some(id), _) => by_number(id),
            (None, Some(sku)) => match self.rows.skus.get(&(caller.id, sku)) {
                Some(id) => by_number(*id),
                None => Ok(None),
            },
            // Without number and SKU nothing identifies the item, so sending such a row again lists it again.
            (None, None) => Ok(None),
        }
    }
}

fn as_listed(before: &Item, listing: &ItemListing) -> Item {
    let mut item = before.clone();
    let ItemListing { name, description, category, unit_price, quantity, .. } = listing.clone();
    let patch = ItemPatch {
        sku: None,
        name: Some(name),
        description: Some(description),
        category: Some(category),
        unit_price: Some(unit_price),
        stock: None,
    };
    patch_details(&mut item, &patch);
    // The quantity is absolute, so importing a file twice changes nothing the second time.
    item.set_quantity(quantity.units());
    item
}
