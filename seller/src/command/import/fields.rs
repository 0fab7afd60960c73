//! The fields of a row, and the headings and keys that name them.

use std::borrow::Cow;

/// A field of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Field {
    Sku,
    ItemId,
    Name,
    Description,
    Category,
    Price,
    Currency,
    Quantity,
}

impl Field {
    pub(super) const ALL: [Self; 8] = [
        Self::Sku,
        Self::ItemId,
        Self::Name,
        Self::Description,
        Self::Category,
        Self::Price,
        Self::Currency,
        Self::Quantity,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sku => "sku",
            Self::ItemId => "item_id",
            Self::Name => "name",
            Self::Description => "description",
            Self::Category => "category",
            Self::Price => "price",
            Self::Currency => "currency",
            Self::Quantity => "quantity",
        }
    }

    /// Returns the field whose name a heading is, apart from case and spaces.
    pub(super) fn named(heading: &str) -> Option<Self> {
        let heading = normal(heading);
        Self::ALL.into_iter().find(|field| field.name() == heading)
    }

    /// Returns whether every row must have the field. A row must also have a sku or an item id.
    pub(super) fn is_required(self) -> bool {
        matches!(self, Self::Name | Self::Category | Self::Price | Self::Quantity)
    }

    /// Returns which of these fields a heading was probably meant to name.
    pub(super) fn guess(heading: &str, among: impl IntoIterator<Item = Self>) -> Option<Self> {
        let heading = normal(heading);
        let distance = |field: &Self| strsim::damerau_levenshtein(field.name(), &heading);
        let is_close = |field: &Self| {
            let name = field.name();
            let is_short_form = heading.len() >= 3 && name.starts_with(heading.as_ref());
            let has_the_word = heading.split('_').any(|word| word == name);
            is_short_form || has_the_word || distance(field) <= (name.len() / 3).max(1)
        };
        among.into_iter().filter(is_close).min_by_key(distance)
    }
}

/// Returns a heading in the form in which headings are compared: in lower case, its words joined by `_`.
pub(super) fn normal(heading: &str) -> Cow<'_, str> {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    // Without copying it, because every key of every JSON object is compared.
    if heading.split('_').all(is_word) {
        return Cow::Borrowed(heading);
    }
    // Characters without width, which copying from a web page or joining files leaves behind.
    let visible = heading.to_lowercase().replace(['\u{feff}', '\u{200b}'], "");
    let words = visible.split(|c: char| c.is_whitespace() || matches!(c, '_' | '-'));
    Cow::Owned(words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_compared_without_case_and_spaces() {
        for heading in ["item_id", "Item ID", " ITEM-ID ", "\u{feff}item  id", "item\u{a0}id"] {
            assert_eq!(Field::named(heading), Some(Field::ItemId), "{heading:?}");
        }
        assert_eq!(Field::named("itemid"), None);
    }

    #[test]
    fn misspelt_headings_are_recognised() {
        for (heading, field) in [
            ("descripton", Field::Description),
            ("Desc", Field::Description),
            ("prise", Field::Price),
            ("unit price", Field::Price),
            ("Quantitiy", Field::Quantity),
            ("SKUs", Field::Sku),
            ("product name", Field::Name),
        ] {
            assert_eq!(Field::guess(heading, Field::ALL), Some(field), "{heading}");
        }
        for heading in ["", "colour", "weight", "notes"] {
            assert_eq!(Field::guess(heading, Field::ALL), None, "{heading}");
        }
    }
}
