//! Converts the fields of a row to an item. A field that the row does not have is absent, and stays as it is on the market;
//! an empty description removes the item's.

use std::borrow::Cow;

use souk_cli::original;
use souk_proto::v1::{ImportRow, ItemDraft};

use super::{
    dialect::{Decimal, Numbers},
    fields::Field,
    from::{Product, ShopRows},
    headings::{Columns, Layout},
    json::{Object, Value},
    records::Record,
    values,
};

/// A row of a file.
#[derive(Debug)]
pub(super) struct Row {
    /// The line on which it begins, as an editor counts.
    pub(super) line: i64,
    /// The item, or why the row is refused.
    pub(super) item: Result<ImportRow, Refused>,
}

/// Why a row is refused, with its SKU if that can be read.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Refused {
    pub(super) sku: String,
    pub(super) problem: String,
}

impl From<String> for Refused {
    fn from(problem: String) -> Self {
        Self { sku: String::new(), problem }
    }
}

/// A value as it stands in the file.
struct Text<'a> {
    text: Cow<'a, str>,
    /// A number of JSON, which has the same notation everywhere.
    is_number: bool,
}

/// How the values of a file become items.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) columns: Columns,
    pub(super) numbers: Numbers,
    /// Whether the file was decoded from another encoding than UTF-8, which leaves U+FFFD where that failed.
    pub(super) is_decoded: bool,
}

impl Reader {
    /// Converts a record of a CSV file.
    pub(super) fn read(&self, record: &Record, layout: &Layout) -> Result<ImportRow, Refused> {
        layout.check(record, &self.columns).map_err(|problem| {
            let sku = layout.cell(record, Field::Sku).and_then(|sku| std::str::from_utf8(sku).ok());
            Refused { sku: sku.unwrap_or_default().trim().to_owned(), problem }
        })?;
        self.row(record.line(), |field| {
            let Some(bytes) = layout.cell(record, field) else { return Ok(None) };
            let text = self.decoded(bytes)?.trim();
            let text = match text.strip_prefix('\'') {
                // The apostrophe states that this notation is the SKU, not a spreadsheet's doing.
                Some(rest) if field == Field::Sku && values::is_scientific(rest.trim_start_matches('\'')) => {
                    rest
                }
                _ if field == Field::Sku && values::is_scientific(text) => {
                    return Err(values::scientific_sku(text));
                }
                // Without the apostrophe that `export` adds to formulas, as do other programs that follow OWASP.
                _ => original(text),
            };
            Ok(Some(Text { text: Cow::Borrowed(text), is_number: false }))
        })
    }

    /// Converts a line of an NDJSON file.
    pub(super) fn read_json(&self, line: i64, object: &Object) -> Result<ImportRow, Refused> {
        self.row(line, |field| match object.get(self.columns.heading(field)) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Text(text)) => Ok(Some(Text { text: Cow::Borrowed(text), is_number: false })),
            Some(Value::Number(number)) if field == Field::Sku && number.contains(['.', 'e', 'E']) => {
                Err(format!("{number} is a number with decimals; write it as a text"))
            }
            Some(Value::Number(number)) => Ok(Some(Text { text: Cow::Borrowed(number), is_number: true })),
            Some(Value::Other) => Err("is neither a text nor a number".to_owned()),
        })
    }

    /// Converts a record of another shop's file; `None` for one that is no item.
    pub(super) fn read_of_shop(
        &self,
        record: &Record,
        layout: &Layout,
        shop: &mut ShopRows,
    ) -> Result<Option<ImportRow>, Refused> {
        layout.check_shape(record)?;
        let cells = (0..record.len()).map(|place| self.decoded(record.cell(place).unwrap_or_default()));
        let product = shop.read(cells.collect::<Result<Vec<_>, _>>()?)?;
        product.map(|product| self.product(record.line(), &product, false)).transpose()
    }

    /// Converts a line of another shop's NDJSON file; `None` for one that is no item.
    pub(super) fn read_json_of_shop(
        &self,
        line: i64,
        text: &[u8],
        shop: &mut ShopRows,
    ) -> Result<Option<ImportRow>, Refused> {
        let product = shop.read_json(self.decoded(text)?)?;
        product.map(|product| self.product(line, &product, true)).transpose()
    }

    fn product(&self, line: i64, product: &Product, is_json: bool) -> Result<ImportRow, Refused> {
        self.row(line, |field| match product.get(field) {
            Some(sku) if field == Field::Sku && values::is_scientific(sku) => {
                Err(values::scientific_sku(sku))
            }
            text => Ok(text.map(|text| Text { text: Cow::Borrowed(text), is_number: is_json })),
        })
    }

    /// Returns the text of bytes that should be UTF-8 by now.
    pub(super) fn decoded<'a>(&self, bytes: &'a [u8]) -> Result<&'a str, String> {
        match std::str::from_utf8(bytes) {
            Ok(text) if self.is_decoded && text.contains('\u{fffd}') => {
                Err("has characters that are not in the file's encoding; pass the right one with --encoding"
                    .to_owned())
            }
            Ok(text) => Ok(text),
            Err(_) => {
                Err("is not in UTF-8; save the file as UTF-8, or pass its encoding with --encoding"
                    .to_owned())
            }
        }
    }

    fn row<'a>(
        &'a self,
        line: i64,
        mut text: impl FnMut(Field) -> Result<Option<Text<'a>>, String>,
    ) -> Result<ImportRow, Refused> {
        let mut problems = Problems::default();
        let mut value = |problems: &mut Problems, field: Field| -> Option<Text<'a>> {
            let text = problems.of(field, text(field)).flatten();
            let default = self.columns.default_of(field).filter(|_| text.as_ref().is_none_or(Text::is_blank));
            default.map(|text| Text { text: Cow::Borrowed(text), is_number: false }).or(text)
        };
        let sku = value(&mut problems, Field::Sku).filter(|sku| !sku.is_blank());
        let item_id = value(&mut problems, Field::ItemId).filter(|id| !id.is_blank());
        if sku.is_none() && item_id.is_none() && problems.is_empty() {
            problems.add(Field::Sku, "is missing; give the item's own number, or an item_id");
        }
        let sku = sku.map(|sku| sku.text.into_owned());
        let item_id = item_id
            .and_then(|id| problems.of(Field::ItemId, values::units(&id.text, id.numbers(self.numbers))));
        let mut required = |problems: &mut Problems, field: Field| {
            let before = problems.count();
            let text = value(problems, field);
            match text {
                None if problems.count() == before => problems.add(field, "is missing"),
                Some(text) if text.is_blank() => problems.add(field, "is empty"),
                text => return text,
            }
            None
        };
        let name = required(&mut problems, Field::Name);
        let category = required(&mut problems, Field::Category);
        let price = required(&mut problems, Field::Price);
        let quantity = required(&mut problems, Field::Quantity);
        let description = value(&mut problems, Field::Description);
        let currency = value(&mut problems, Field::Currency).filter(|currency| !currency.is_blank());
        let unit_price = price.and_then(|price| {
            let currency = currency.as_ref().map(|currency| &*currency.text);
            let numbers = price.numbers(self.numbers);
            problems.of(Field::Price, values::price(&price.text, currency, self.columns.currency(), numbers))
        });
        let quantity = quantity.and_then(|units| {
            problems.of(Field::Quantity, values::units(&units.text, units.numbers(self.numbers)))
        });
        problems.finish(sku.as_deref())?;
        let owned = |text: Option<Text<'_>>| text.map(|text| text.text.into_owned());
        let item = ItemDraft {
            sku,
            name: owned(name),
            description: owned(description),
            category: owned(category),
            unit_price,
            quantity,
        };
        Ok(ImportRow { line, item_id: item_id.unwrap_or_default(), item: Some(item) })
    }
}

impl Text<'_> {
    fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }

    fn numbers(&self, of_file: Numbers) -> Numbers {
        if self.is_number { Numbers { decimal: Decimal::Point, is_given: true } } else { of_file }
    }
}

/// What is wrong with a row: all of it, so that one correction is enough.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, field: Field, problem: &str) {
        self.0.push(format!("{} {problem}", field.name()));
    }

    fn of<T>(&mut self, field: Field, value: Result<T, String>) -> Option<T> {
        value.map_err(|problem| self.add(field, &problem)).ok()
    }

    fn finish(self, sku: Option<&str>) -> Result<(), Refused> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Refused { sku: sku.unwrap_or_default().to_owned(), problem: self.0.join("; ") })
    }
}
