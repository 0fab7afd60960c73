//! What the editor shows: a TOML table for each item. A key that is missing leaves its field as it is.

use serde::{Deserialize, Serialize};
use souk_cli::{format_money, parse_money, plain};
use souk_proto::v1::{Item, ItemDraft};

const HEADER: &str = "\
# Change what you like, save, and close the editor. Keys: name, category, price, stock, sku, description.
# A key or an item that you delete here stays as it is on the market; an empty description is removed.
# Leave id and version alone: the version shows whether an item has changed meanwhile.

";

/// An item in the editor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) version: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) category: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stock: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sku: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default, rename = "item")]
    items: Vec<Row>,
}

impl From<&Item> for Row {
    fn from(item: &Item) -> Self {
        Self {
            id: item.item_id,
            version: item.version,
            name: Some(item.name.clone()),
            category: Some(item.category.clone()),
            price: Some(format_money(item.unit_price.as_ref())),
            stock: Some(item.quantity),
            sku: Some(item.sku.clone()),
            description: Some(item.description.clone()),
        }
    }
}

impl Row {
    /// Returns the row with only the keys whose values differ from another's.
    pub(super) fn changed_from(&self, base: &Self) -> Self {
        let Self { id, version, name, category, price, stock, sku, description } = self.clone();
        Self {
            id,
            version,
            name: name.filter(|name| base.name.as_ref() != Some(name)),
            category: category.filter(|category| base.category.as_ref() != Some(category)),
            price: price.filter(|price| base.price.as_ref() != Some(price)),
            stock: stock.filter(|stock| base.stock.as_ref() != Some(stock)),
            sku: sku.filter(|sku| base.sku.as_ref() != Some(sku)),
            description: description.filter(|text| base.description.as_ref() != Some(text)),
        }
    }

    /// Returns whether the row has only some of the keys, like the rows that an edit has kept.
    pub(super) fn is_partial(&self) -> bool {
        let Self { name, category, price, stock, sku, description, .. } = self;
        let texts = [name, category, price, sku, description];
        stock.is_none() || texts.iter().any(|text| text.is_none())
    }

    /// Returns the draft that changes an item from `base` to this; `None` if they do not differ.
    ///
    /// # Errors
    /// A value is wrong, or belongs to no item.
    pub(super) fn difference(
        &self,
        base: &Self,
        currency: Option<&str>,
    ) -> Result<Option<ItemDraft>, String> {
        let Self { id, name, category, price, stock, sku, description, .. } = self.changed_from(base);
        if sku.as_ref().is_some_and(String::is_empty) {
            return Err(format!("item {id}: its sku can't be removed; write it as it was"));
        }
        let money = |price: &str| parse_money(price, currency);
        let unit_price = match price {
            None => None,
            Some(price) => Some(money(&price).map_err(|problem| format!("item {id}: {problem}"))?),
        };
        // The same amount, written in another way, is no change.
        let before = base.price.as_deref().and_then(|price| money(price).ok());
        let unit_price = unit_price.filter(|price| Some(price) != before.as_ref());
        let draft = ItemDraft { name, description, category, unit_price, quantity: stock, sku };
        Ok((draft != ItemDraft::default()).then_some(draft))
    }

    /// Returns comments with the market's values of the keys in which it differs from this row.
    fn comments(&self, now: &Self) -> String {
        let texts = [
            ("name", &self.name, &now.name),
            ("category", &self.category, &now.category),
            ("price", &self.price, &now.price),
            ("sku", &self.sku, &now.sku),
            ("description", &self.description, &now.description),
        ];
        let stock = [self.stock, now.stock].map(|stock| stock.map(|stock| stock.to_string()));
        let stock = [("stock", &stock[0], &stock[1])];
        let all = texts
            .into_iter()
            .chain(stock)
            .filter_map(|(key, own, now)| own.as_ref().zip(now.as_ref()).map(|of| (key, of)));
        // In one line each: `plain` escapes line breaks.
        all.filter(|(_, (own, now))| own != now)
            .map(|(key, (_, now))| format!("# On the market: {key} = {}\n", plain(now)))
            .collect()
    }
}

/// Returns the text that the editor opens with.
///
/// # Errors
/// The values can't be written as TOML.
pub(super) fn written(rows: &[Row]) -> Result<String, toml::ser::Error> {
    Ok(format!("{HEADER}{}", toml::to_string_pretty(&Page { items: rows.to_vec() })?))
}

/// Returns the text for changes that are still to be made, each with what the market has now, as far as it is known.
///
/// # Errors
/// The values can't be written as TOML.
pub(super) fn written_beside(rows: &[(Row, Option<Row>)]) -> Result<String, toml::ser::Error> {
    let mut text = HEADER.to_owned();
    for (row, now) in rows {
        if let Some(now) = now {
            text.push_str(&row.comments(now));
        }
        text.push_str(&toml::to_string_pretty(&Page { items: vec![row.clone()] })?);
        text.push('\n');
    }
    Ok(text)
}

/// Reads what the editor has saved.
///
/// # Errors
/// Returns what is wrong, with the line.
pub(super) fn read(text: &str) -> Result<Vec<Row>, String> {
    let page: Page = toml::from_str(text).map_err(|problem| {
        let (text, message) = (problem.to_string(), problem.message());
        match souk_settings::expected_type(message) {
            Some(words) => text.replace(message, &words),
            None => text,
        }
    })?;
    Ok(page.items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lamp() -> Row {
        Row::from(&Item {
            item_id: 7,
            version: 3,
            name: "Lamp \"brass\"".into(),
            category: "home/light".into(),
            unit_price: parse_money("12.50 GBP", None).ok(),
            quantity: 4,
            description: "Two\nlines, # and '''\n".into(),
            ..Default::default()
        })
    }

    fn edited(change: impl Fn(&str) -> String) -> Result<Option<ItemDraft>, String> {
        let rows = read(&change(&written(&[lamp()]).unwrap()))?;
        rows[0].difference(&lamp(), None)
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(read(&written(&[lamp(), lamp()]).unwrap()).unwrap(), [lamp(), lamp()]);
        assert_eq!(edited(str::to_owned), Ok(None));
        assert!(read("# nothing left\n").unwrap().is_empty());
        let problem = edited(|text| text.replace("stock = 4", "stock = \"four\"")).unwrap_err();
        assert!(
            problem.contains("line ") && problem.contains("give a whole number, such as 12"),
            "{problem}"
        );
    }

    #[test]
    fn only_what_was_changed_is_sent() {
        let draft = edited(|text| text.replace("12.50 GBP", "9.99 GBP").replace("stock = 4", "stock = 9"));
        let draft = draft.unwrap().unwrap();
        assert_eq!(draft.unit_price, parse_money("9.99 GBP", None).ok());
        assert_eq!(
            draft,
            ItemDraft { unit_price: draft.unit_price.clone(), quantity: Some(9), ..Default::default() }
        );
        assert_eq!(edited(|text| text.replace("12.50 GBP", "GBP 12.5")), Ok(None), "the same amount");
        let gone = edited(|text| {
            text.lines().filter(|line| !line.starts_with("category")).collect::<Vec<_>>().join("\n")
        });
        assert_eq!(gone, Ok(None), "a key that is missing");
        let named = edited(|text| text.replace("sku = \"\"", "sku = \"T-1\"")).unwrap().unwrap();
        assert_eq!(named.sku.as_deref(), Some("T-1"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (from, to, word) in [
            ("stock = 4", "stock = many", "line"),
            ("stock", "stok", "stok"),
            ("12.50 GBP", "cheap", "item 7"),
        ] {
            let refused = edited(|text| text.replace(from, to)).unwrap_err();
            assert!(refused.contains(word), "{to}: {refused}");
        }
    }

    #[test]
    fn changes_are_kept_beside_what_the_market_has() {
        let mine = Row { stock: Some(9), name: Some("Torch".into()), ..lamp() };
        let now = Row { version: 5, name: Some("Lantern".into()), ..lamp() };
        let text =
            written_beside(&[(Row { version: 5, ..mine.changed_from(&lamp()) }, Some(now.clone()))]).unwrap();
        assert!(text.contains("# On the market: name = Lantern\n"), "{text}");
        let kept = read(&text).unwrap();
        assert_eq!((kept[0].version, kept[0].price.as_ref()), (5, None));
        assert!(kept[0].is_partial() && !lamp().is_partial());
        let draft = kept[0].difference(&now, None).unwrap().unwrap();
        assert_eq!((draft.name.as_deref(), draft.quantity, draft.category), (Some("Torch"), Some(9), None));
    }
}
