//! Converts a row of a file to an item.

use std::collections::{HashMap, hash_map::Entry};

use clap::ValueEnum;
use serde::Deserialize;
use souk_cli::{Failure, parse_money};
use souk_proto::v1::{ImportRow, ItemDraft};

/// A field of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
#[value(rename_all = "snake_case")]
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
    const ALL: [Self; 8] = [
        Self::Sku,
        Self::ItemId,
        Self::Name,
        Self::Description,
        Self::Category,
        Self::Price,
        Self::Currency,
        Self::Quantity,
    ];

    fn name(self) -> &'static str {
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
}

/// What to do if the input contains a SKU more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Duplicates {
    /// Leave all but the first out, as wrong.
    Error,
    /// Leave all but the first out.
    Skip,
}

/// Parses `FIELD=TEXT`, the value of --column and --default. The text may contain further `=`.
pub(super) fn assignment(text: &str) -> Result<(Field, String), String> {
    let names = || Field::ALL.map(Field::name).join(", ");
    let (name, value) =
        text.split_once('=').ok_or_else(|| format!("write FIELD=TEXT; fields are {}", names()))?;
    let field = Field::ALL.into_iter().find(|field| field.name() == name);
    let field = field.ok_or_else(|| format!("there is no field {name:?}; fields are {}", names()))?;
    Ok((field, value.to_owned()))
}

/// The columns of the fields, and the values of fields without a column.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    headings: HashMap<Field, String>,
    defaults: HashMap<Field, String>,
    currency: Option<String>,
    places: HashMap<Field, usize>,
}

impl Columns {
    pub(super) fn new(
        headings: &[(Field, String)],
        defaults: &[(Field, String)],
        currency: Option<&str>,
    ) -> Result<Self, Failure> {
        let once = |given: &[(Field, String)], flag: &str| {
            let map: HashMap<_, _> = given.iter().cloned().collect();
            if map.len() < given.len() {
                let problem = format!("{flag} names a field twice");
                return Err(Failure::usage(problem, "give each field once"));
            }
            Ok(map)
        };
        Ok(Self {
            headings: once(headings, "--column")?,
            defaults: once(defaults, "--default")?,
            currency: currency.map(str::to_owned),
            places: HashMap::new(),
        })
    }

    /// Finds the columns of a CSV file by its first line.
    pub(super) fn locate(&mut self, header: &csv::ByteRecord) -> Result<(), Failure> {
        let headings: Vec<_> = header
            .iter()
            .enumerate()
            // Spreadsheets write a byte order mark at the beginning of a UTF-8 file.
            .map(
                |(n, heading)| {
                    if n == 0 { heading.strip_prefix(b"\xef\xbb\xbf").unwrap_or(heading) } else { heading }
                },
            )
            .map(|heading| String::from_utf8_lossy(heading).trim().to_owned())
            .collect();
        self.places.clear();
        for field in Field::ALL {
            let asked = self.headings.get(&field);
            let wanted = asked.map_or(field.name(), String::as_str);
            let place = headings.iter().position(|heading| heading.eq_ignore_ascii_case(wanted));
            match place {
                Some(place) => drop(self.places.insert(field, place)),
                None if asked.is_some() => {
                    return Err(wrong_header(&format!("has no column {wanted:?}"), &headings));
                }
                None => {}
            }
        }
        let has = |field| self.places.contains_key(&field) || self.defaults.contains_key(&field);
        for field in [Field::Name, Field::Category, Field::Price, Field::Quantity] {
            if !has(field) {
                return Err(wrong_header(&format!("has no column {:?}", field.name()), &headings));
            }
        }
        if !has(Field::Sku) && !has(Field::ItemId) {
            return Err(wrong_header("has neither a column \"sku\" nor \"item_id\"", &headings));
        }
        Ok(())
    }

    /// Converts a record of a CSV file.
    pub(super) fn read(&self, line: i64, record: &csv::ByteRecord) -> Result<ImportRow, String> {
        self.row(line, |field| {
            let Some(bytes) = self.places.get(&field).and_then(|place| record.get(*place)) else {
                return Ok(String::new());
            };
            let text = std::str::from_utf8(bytes);
            // Without the apostrophe that `export` adds to formulas, as do other programs that follow OWASP.
            text.map(|text| souk_cli::original(text.trim()).to_owned())
                .map_err(|_| format!("{} is not in UTF-8; save the file as UTF-8", field.name()))
        })
    }

    /// Converts a line of an NDJSON file.
    pub(super) fn read_json(&self, line: i64, text: &[u8]) -> Result<ImportRow, String> {
        let text =
            std::str::from_utf8(text).map_err(|_| "is not in UTF-8; save the file as UTF-8".to_owned())?;
        let mut object: JsonRow =
            serde_json::from_str(text).map_err(|error| format!("is not as it should be: {error}"))?;
        self.row(line, |field| Ok(object.take(field)))
    }

    fn row(
        &self,
        line: i64,
        mut text: impl FnMut(Field) -> Result<String, String>,
    ) -> Result<ImportRow, String> {
        let mut value = |field| {
            let text = text(field)?;
            let default = || self.defaults.get(&field).cloned().unwrap_or_default();
            Ok::<_, String>(if text.is_empty() { default() } else { text })
        };
        let number = |field: Field, text: String| {
            let digits = text.replace('_', "");
            digits.parse::<i64>().map_err(|_| format!("{} {text:?} is no whole number", field.name()))
        };
        let (sku, item_id) = (value(Field::Sku)?, value(Field::ItemId)?);
        let item_id = if item_id.is_empty() { 0 } else { number(Field::ItemId, item_id)? };
        let (price, currency) = (value(Field::Price)?, value(Field::Currency)?);
        let currency = if currency.is_empty() { self.currency.as_deref() } else { Some(currency.as_str()) };
        let item = ItemDraft {
            sku: Some(sku).filter(|sku| !sku.is_empty()),
            name: Some(value(Field::Name)?),
            description: Some(value(Field::Description)?),
            category: Some(value(Field::Category)?),
            unit_price: Some(parse_money(&price, currency).map_err(|failure| one_line(&failure))?),
            quantity: Some(number(Field::Quantity, value(Field::Quantity)?)?),
        };
        Ok(ImportRow { line, item_id, item: Some(item) })
    }
}

fn one_line(failure: &Failure) -> String {
    match failure.hint() {
        Some(hint) => format!("{failure}; {hint}"),
        None => failure.to_string(),
    }
}

fn wrong_header(problem: &str, headings: &[String]) -> Failure {
    let shown = headings.iter().take(20).map(|heading| souk_cli::plain(heading)).collect::<Vec<_>>();
    Failure::usage(
        format!("the first line {problem}; it has: {}", shown.join(", ")),
        "name a column with --column FIELD=HEADING, or give a value for all rows with --default FIELD=VALUE",
    )
}

/// An item in JSON: as `export` writes it, or as `items --output ndjson` does.
#[derive(Deserialize)]
struct JsonRow {
    #[serde(flatten)]
    fields: serde_json::Map<String, serde_json::Value>,
}

impl JsonRow {
    fn take(&mut self, field: Field) -> String {
        use serde_json::Value;
        match self.fields.remove(field.name()) {
            Some(Value::String(text)) => text,
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        }
    }
}

/// Records which SKUs have occurred, and on which lines.
#[derive(Default)]
pub(super) struct Known {
    lines: HashMap<String, i64>,
}

impl Known {
    /// Returns the line on which the row's SKU occurred before, and records this one.
    pub(super) fn before(&mut self, row: &ImportRow) -> Option<i64> {
        let sku = row.item.as_ref().and_then(|item| item.sku.clone())?;
        match self.lines.entry(sku) {
            Entry::Occupied(earlier) => Some(*earlier.get()),
            Entry::Vacant(new) => {
                new.insert(row.line);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(header: &[&str]) -> Columns {
        let mut columns = Columns::new(&[], &[], Some("GBP")).unwrap();
        columns.locate(&csv::ByteRecord::from(header.to_vec())).unwrap();
        columns
    }

    const HEADER: [&str; 5] = ["\u{feff}SKU", "name", "Category", "price", "quantity"];

    #[test]
    fn columns_are_found_by_their_names_whatever_their_order_and_case() {
        let record = csv::ByteRecord::from(vec!["L-1", " Lamp ", "home", "12.50", "3"]);
        let row = columns(&HEADER).read(2, &record).unwrap();
        let item = row.item.unwrap();
        assert_eq!((item.sku(), item.name(), item.quantity(), row.line), ("L-1", "Lamp", 3, 2));
        assert_eq!(item.unit_price.unwrap().amount_minor, 1_250);
    }

    #[test]
    fn the_problem_with_a_row_is_reported() {
        let columns = columns(&HEADER);
        let read = |record: Vec<&[u8]>| columns.read(2, &csv::ByteRecord::from(record)).unwrap_err();
        assert!(read(vec![b"L-1", b"Lamp", b"home", b"12,5", b"3"]).contains("comma"));
        assert!(read(vec![b"L-1", b"Lamp", b"home", b"12.50", b"three"]).contains("no whole number"));
        assert!(read(vec![b"L-1", b"Lamp \xff", b"home", b"12.50", b"3"]).contains("UTF-8"));
        assert!(read(vec![b"L-1", b"Lamp"]).contains("no amount"));
    }

    #[test]
    fn a_header_without_what_is_needed_is_refused_with_what_it_has() {
        let mut columns = Columns::new(&[], &[], None).unwrap();
        let refused =
            columns.locate(&csv::ByteRecord::from(vec!["StockCode", "Price"])).unwrap_err().to_string();
        assert!(refused.contains("name") && refused.contains("StockCode, Price"), "{refused}");
        let named = [(Field::Sku, "Code".to_owned())];
        let mut columns = Columns::new(&named, &[], None).unwrap();
        let refused = columns.locate(&csv::ByteRecord::from(HEADER.to_vec())).unwrap_err().to_string();
        assert!(refused.contains("Code"), "{refused}");
    }

    #[test]
    fn defaults_stand_in_for_what_is_missing_or_empty() {
        let defaults = [assignment("category=gifts").unwrap(), assignment("quantity=100").unwrap()];
        let mut columns =
            Columns::new(&[assignment("sku=StockCode").unwrap()], &defaults, Some("EUR")).unwrap();
        columns.locate(&csv::ByteRecord::from(vec!["StockCode", "name", "price", "quantity"])).unwrap();
        let row = columns.read(2, &csv::ByteRecord::from(vec!["7", "Mug", "1.10", ""])).unwrap();
        let item = row.item.unwrap();
        assert_eq!((item.category(), item.quantity()), ("gifts", 100));
        assert!(assignment("color=red").is_err() && assignment("sku").is_err());
    }

    #[test]
    fn json_lines_may_have_numbers_or_texts() {
        let columns = Columns::new(&[], &[], None).unwrap();
        let line =
            br#"{"sku":"L-1","name":"Lamp","category":"home","price":"12.50 GBP","quantity":3,"version":9}"#;
        assert_eq!(columns.read_json(1, line).unwrap().item.unwrap().quantity(), 3);
        for wrong in [&b"[]"[..], b"{", b"", b"\xff", br#"{"name":"Lamp"}"#] {
            assert!(columns.read_json(1, wrong).is_err());
        }
    }
}
