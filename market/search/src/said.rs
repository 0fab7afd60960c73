//! What a document says of its item, which decides whether the item must be indexed again.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use souk_domain::{Item, Sku};

use super::states::State;

/// What a document says of its item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) contents: Contents,
    pub(super) state: State,
}

impl Said {
    pub(super) fn of(item: &Item) -> Self {
        Self { contents: Contents::of(item), state: State::of(item) }
    }
}

/// A hash of the document's contents, without the item's state. If the standard library's hash changes, all
/// items are indexed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Contents(u64);

impl Contents {
    /// Must cover all that the document takes from the item itself.
    pub(super) fn of(item: &Item) -> Self {
        let Item { name, description, category, unit_price, seller, .. } = item;
        let mut hasher = DefaultHasher::new();
        [name.as_str(), description.as_str(), category.as_str()].hash(&mut hasher);
        item.sku.as_ref().map(Sku::as_str).hash(&mut hasher);
        (unit_price.amount_minor(), unit_price.currency_code(), seller.0).hash(&mut hasher);
        Self(hasher.finish())
    }

    /// Returns the hash as it is stored in a column.
    pub(super) fn to_column(self) -> u64 {
        self.0
    }

    pub(super) fn from_column(value: u64) -> Self {
        Self(value)
    }
}
