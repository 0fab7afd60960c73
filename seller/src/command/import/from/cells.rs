//! The cells of a row by their headings, of a CSV file or of a JSON object.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet, hash_map::Entry},
};

use serde_json::Value;

/// A micro-unit of a currency is a millionth of it (Google's `Price`).
const MICROS: u128 = 1_000_000;

/// The cells of a row. Headings are compared without case, and with `_` or a space between words.
#[derive(Debug, Default)]
pub(super) struct Cells {
    cells: HashMap<String, String>,
    /// The headings that a record has more than once.
    repeated: HashSet<String>,
    /// One of them that was asked for.
    ambiguous: RefCell<Option<String>>,
}

impl Cells {
    /// Collects the cells of a record, each with its heading.
    pub(super) fn of<'a, 'b>(cells: impl IntoIterator<Item = (&'a str, &'b str)>) -> Self {
        let mut all = Self::default();
        for (heading, text) in cells {
            if !all.add(heading, without_apostrophe(text.trim()).to_owned()) {
                all.repeated.insert(normal(heading));
            }
        }
        all
    }

    /// Collects the values of a JSON object, whose keys are headings, or names of an API such as `salePrice`.
    pub(super) fn of_json(object: &serde_json::Map<String, Value>) -> Self {
        let mut all = Self::default();
        all.add_object(object);
        all
    }

    /// Returns a cell; `None` if the file has no such column, or another row had it.
    pub(super) fn get(&self, heading: &str) -> Option<&str> {
        let heading = normal(heading);
        if self.repeated.contains(&heading) {
            self.ambiguous.borrow_mut().get_or_insert_with(|| heading.clone());
        }
        self.cells.get(&heading).map(String::as_str)
    }

    /// Returns a heading that was asked for although several columns have it. Columns that are not read may repeat.
    pub(super) fn ambiguous(&self) -> Option<String> {
        self.ambiguous.borrow().clone()
    }

    /// Returns the cell of the first of these headings that the row has.
    pub(super) fn any(&self, headings: &[&str]) -> Option<&str> {
        headings.iter().find_map(|heading| self.get(heading))
    }

    /// Returns the first of these cells that is not empty.
    pub(super) fn filled(&self, headings: &[&str]) -> Option<&str> {
        headings.iter().filter_map(|heading| self.get(heading)).find(|cell| !cell.is_empty())
    }

    fn add_object(&mut self, object: &serde_json::Map<String, Value>) {
        for (key, value) in object {
            match value {
                Value::Null => {}
                // The attributes of a product of the Merchant API are an object of their own.
                Value::Object(inner) if amount(inner).is_none() => self.add_object(inner),
                value => drop(self.add(key, text(value))),
            }
        }
    }

    /// Adds a cell, unless there is one with this heading already. Returns whether it was added.
    fn add(&mut self, heading: &str, text: String) -> bool {
        match self.cells.entry(normal(heading)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(text);
                true
            }
        }
    }
}

/// Returns a cell without the apostrophe by which exporters keep spreadsheets from running it as a formula. They put it
/// before negative numbers, too.
fn without_apostrophe(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(rest) if rest.starts_with(['=', '+', '-', '@']) => rest,
        _ => cell,
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.trim().to_owned(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(object) => amount(object).unwrap_or_default(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// Returns an amount of money: `{"value", "currency"}` (Content API) or `{"amountMicros", "currencyCode"}` (Merchant API).
fn amount(object: &serde_json::Map<String, Value>) -> Option<String> {
    if let (Some(value), Some(currency)) = (object.get("value"), object.get("currency")) {
        return Some(format!("{} {}", text(value), text(currency)));
    }
    let micros = text(object.get("amountMicros")?).parse::<i128>().ok()?;
    let currency = text(object.get("currencyCode")?);
    let (sign, micros) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
    let (whole, part) = (micros / MICROS, micros % MICROS);
    let part = format!("{part:06}");
    let part = part.trim_end_matches('0');
    let point = if part.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{part} {currency}"))
}

/// Returns a heading in the form in which headings are compared: `sale_price` for `Sale price`, `sale price`,
/// `g:sale_price` and `salePrice`.
fn normal(heading: &str) -> String {
    let heading = heading.trim().trim_start_matches('\u{feff}');
    let heading = heading.strip_prefix("g:").unwrap_or(heading);
    // Of an API: no spaces, and it begins in lower case.
    let is_camel = heading.starts_with(|c: char| c.is_ascii_lowercase()) && !heading.contains([' ', '_']);
    let mut normal = String::with_capacity(heading.len() + 4);
    for c in heading.chars() {
        if is_camel && c.is_ascii_uppercase() {
            normal.push('_');
        }
        match c {
            ' ' | '_' | '\u{a0}' => normal.push('_'),
            c => normal.extend(c.to_lowercase()),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_found_however_they_are_written() {
        for heading in
            ["sale_price", "Sale price", "SALE PRICE", "g:sale_price", "salePrice", "\u{feff}sale price"]
        {
            let cells = Cells::of([(heading, " 9.99 ")]);
            assert_eq!(cells.get("Sale price"), Some("9.99"), "{heading}");
        }
        assert_eq!(Cells::of([("Body (HTML)", "x")]).get("body (html)"), Some("x"));
    }

    #[test]
    fn only_columns_that_are_not_read_may_repeat() {
        let cells =
            Cells::of([("Name", "first"), ("image link", "a"), ("image_link", "b"), ("name", "second")]);
        assert_eq!((cells.get("Price"), cells.ambiguous()), (None, None));
        assert_eq!(
            (cells.any(&["title", "Name"]), cells.ambiguous()),
            (Some("first"), Some("name".to_owned()))
        );
    }

    #[test]
    fn cells_lose_the_apostrophe_of_the_exporter() {
        for (cell, text) in
            [("'-3", "-3"), ("'=A1", "=A1"), ("'tis", "'tis"), ("'00123", "'00123"), ("'", "'")]
        {
            assert_eq!(Cells::of([("Stock", cell)]).get("Stock"), Some(text));
        }
    }

    #[test]
    fn values_of_json_are_cells() {
        let json = r#"{"offerId":"A1","price":{"value":"15.00","currency":"USD"},"sizes":["M","L"],"stock":3,"gone":null,
            "productAttributes":{"title":"Shirt","salePrice":{"amountMicros":"12500000","currencyCode":"USD"}}}"#;
        let cells = Cells::of_json(&serde_json::from_str(json).unwrap());
        for (heading, text) in [
            ("offer_id", "A1"),
            ("price", "15.00 USD"),
            ("sizes", "M, L"),
            ("stock", "3"),
            ("title", "Shirt"),
            ("sale_price", "12.5 USD"),
        ] {
            assert_eq!(cells.get(heading), Some(text));
        }
        assert_eq!(cells.get("gone"), None);
    }
}
