//! Merges the updates of an item that a recipient has not received into one.
//!
//! The rule: a merged update reports the difference between the item's state before the first of the updates
//! and its state now, so that nothing is lost and nothing is invented, whatever happened in between.

use super::{Event, EventKind, Item, ItemBefore};

/// The fields of an item that an update can change, by their names in the contract and in its order.
const FIELDS: [&str; 5] = ["name", "description", "category", UNIT_PRICE, "quantity"];
const UNIT_PRICE: &str = "unit_price";

impl EventKind {
    /// Creates the event of an update that has changed some fields of an item.
    pub(super) fn item_updated(before: ItemBefore, item: Item, changed_fields: Vec<String>) -> Self {
        Self::ItemUpdated {
            // Only a reduction is announced with the old price: that is what wishing buyers wait for.
            previous_price: before.unit_price.filter(|price| price.is_above(item.unit_price)),
            back_in_stock: before.is_sold_out && item.quantity > 0,
            before: Some(before),
            item,
            changed_fields,
        }
    }
}

impl Event {
    /// Merges an earlier event on the same topic into this one, for a recipient that can't have received the
    /// earlier one. The result has the id and the time of this one.
    ///
    /// Of updates of one item, the result names every field that any of them changed, even if a field has
    /// its first value again. The price and the stock are compared with those before the earlier update.
    /// Events of other kinds, such as a withdrawal, replace the earlier one.
    #[must_use]
    pub fn merge(self, earlier: &Self) -> Self {
        let kind = match (self.kind, &earlier.kind) {
            (
                EventKind::ItemUpdated { item, changed_fields, .. },
                EventKind::ItemUpdated {
                    item: earlier_item,
                    changed_fields: earlier_fields,
                    previous_price,
                    back_in_stock,
                    before,
                },
            ) if item.id == earlier_item.id => {
                let before = before.unwrap_or_else(|| {
                    // Written by an older market. A price that rose is not in the event.
                    let stayed = !earlier_fields.iter().any(|field| field == UNIT_PRICE);
                    ItemBefore {
                        unit_price: previous_price.or(stayed.then_some(earlier_item.unit_price)),
                        is_sold_out: *back_in_stock,
                    }
                });
                EventKind::item_updated(before, item, union(earlier_fields, changed_fields))
            }
            (kind, _) => kind,
        };
        Self { kind, ..self }
    }
}

/// Returns the names in either list, in the order of the contract.
fn union(earlier: &[String], later: Vec<String>) -> Vec<String> {
    let mut all = later;
    for field in earlier {
        if !all.contains(field) {
            all.push(field.clone());
        }
    }
    // Names that this version does not know come last.
    all.sort_by_key(|field| FIELDS.iter().position(|known| known == field).unwrap_or(FIELDS.len()));
    all
}
