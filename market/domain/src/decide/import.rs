//! Imports: the desired state of many items, from a seller's file.

use super::{Decision, Effect, Rules, listing::patch_details};
use crate::{ImportRow, Imported, Item, ItemId, ItemPatch, Party};

impl Rules<'_, '_> {
    /// Brings each item to the state of its row: lists it, changes it, or keeps it if it already matches.
    ///
    /// A row that names an item which the caller does not have, or that lacks a property of a new item, is skipped and
    /// reported; the other rows take effect all the same.
    pub(super) fn import(&mut self, caller: &Party, rows: &[ImportRow]) -> Decision<Imported> {
        let mut imported = Imported::default();
        // Effects are applied only after the rule returns, so later rows look up the items of earlier ones
        // here.
        let mut effects: Vec<Effect> = Vec::with_capacity(rows.len());
        for row in rows {
            match self.named(caller, row, &effects) {
                // Not a refusal: it would undo the other rows of the batch.
                Err(()) => imported.not_found.push(row.line),
                Ok(None) => match row.listing() {
                    None => imported.incomplete.push(row.line),
                    Some(listing) => {
                        let item = self.new_item(caller, &listing);
                        effects.push(Effect::PutItem(item));
                        imported.created += 1;
                    }
                },
                Ok(Some(before)) => match self.changed(&before, desired(&before, row)) {
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
            None => item.sku.is_some() && item.sku == row.sku,
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
        match (row.item, row.sku.clone()) {
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

/// Returns an item with the properties that a row has. Those that it does not have stay as they are, so that a file
/// without descriptions does not erase them.
fn desired(before: &Item, row: &ImportRow) -> Item {
    let mut item = before.clone();
    let ImportRow { name, description, category, unit_price, quantity, .. } = row.clone();
    let patch = ItemPatch { sku: None, name, description, category, unit_price, stock: None };
    patch_details(&mut item, &patch);
    if let Some(quantity) = quantity {
        // It is absolute, so importing a file twice changes nothing the second time.
        item.set_quantity(quantity.units());
    }
    item
}
