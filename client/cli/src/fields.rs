//! The fields of results: what `--fields` selects, and the columns of CSV files, which hold one kind of value each.

use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::Value;

use super::{
    Failure,
    money::{decimal, format_parts},
    when::{Times, When},
};

/// A field of a type of results. Its name is that of the JSON output.
#[derive(Clone, Copy, Debug)]
pub struct DataField {
    name: &'static str,
    /// Where its value is in the JSON output, with points between the names of objects.
    path: &'static str,
    is_money: bool,
    /// The fields of its value, if that is an object of a type with fields of its own.
    parts: &'static [DataField],
}

/// The fields of an amount of money.
const MONEY: &[DataField] = &[DataField::value("amount_minor"), DataField::value("currency_code")];

impl DataField {
    /// A field with a text, a number, a time, or a list.
    pub const fn value(name: &'static str) -> Self {
        Self { name, path: name, is_money: false, parts: &[] }
    }

    /// A field with an amount of money. In a CSV file it has two columns: the amount, and the currency.
    pub const fn money(name: &'static str) -> Self {
        Self { name, path: name, is_money: true, parts: MONEY }
    }

    /// A field with an object, such as the order of an event. Its parts can be selected as `order.status`.
    pub const fn object(name: &'static str, parts: &'static [Self]) -> Self {
        Self { name, path: name, is_money: false, parts }
    }

    /// Sets where the value is, if that is within another object, such as `rating.mean`.
    #[must_use]
    pub const fn at(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    /// Returns the headings of its columns in a CSV file.
    pub(super) fn headings(&self) -> Vec<String> {
        headings(self.name, self.is_money)
    }

    /// Returns the cells of its columns in a CSV file.
    pub(super) fn cells(&self, row: &Value) -> Vec<String> {
        cells(lookup(row, self.path), self.is_money)
    }
}

/// A field that the user has selected.
#[derive(Clone, Debug)]
pub(super) struct Selected {
    /// Its name as typed.
    name: String,
    path: String,
    /// The heading of its column in a CSV file.
    heading: String,
    is_money: bool,
}

/// Returns the selected fields, in the order in which they were named.
///
/// # Errors
/// A name is not among the fields of the results.
pub(super) fn select(names: &[String], fields: &[DataField]) -> Result<Vec<Selected>, Failure> {
    let selected = |name: &String| {
        find(name, fields).ok_or_else(|| {
            let known: Vec<_> = fields.iter().map(|field| field.name).collect();
            Failure::usage(
                format!("there is no field {name:?} here"),
                format!("the fields are: {}", known.join(", ")),
            )
        })
    };
    names.iter().map(selected).collect()
}

/// Returns the field with a name, or a part of one: `unit_price`, `rating.mean`, `order.status`.
fn find(name: &str, fields: &[DataField]) -> Option<Selected> {
    let selected = |path: &str, heading: &str, is_money| Selected {
        name: name.to_owned(),
        path: path.to_owned(),
        heading: heading.to_owned(),
        is_money,
    };
    if let Some(field) = fields.iter().find(|field| field.name == name || field.path == name) {
        return Some(selected(field.path, field.name, field.is_money));
    }
    // An object whose parts are fields, such as `rating`.
    if fields.iter().any(|field| field.path.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))) {
        return Some(selected(name, name, false));
    }
    let (object, part) = name.split_once('.')?;
    let object = fields.iter().find(|field| field.name == object)?;
    let found = find(part, object.parts)?;
    Some(selected(&format!("{}.{}", object.path, found.path), name, found.is_money))
}

impl Selected {
    /// Returns the heading of its column in a table.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether its column is aligned to the right.
    pub(super) fn is_number(&self, rows: &[Value]) -> bool {
        let mut values = rows.iter().map(|row| lookup(row, &self.path)).filter(|value| !value.is_null());
        values.clone().next().is_some() && values.all(|value| value.is_number() || money(value).is_some())
    }

    /// Returns its text in a table.
    pub(super) fn text(&self, row: &Value, times: &Times) -> String {
        match lookup(row, &self.path) {
            Value::Null => "-".to_owned(),
            Value::String(text) if self.path.ends_with("_time") => {
                When::parse(text).map_or_else(|| text.clone(), |when| times.short(when))
            }
            Value::Array(values) => values.iter().map(data).collect::<Vec<_>>().join(", "),
            value => match money(value) {
                Some((amount_minor, code)) => format_parts(amount_minor, code),
                None => data(value),
            },
        }
    }

    /// Returns the headings of its columns in a CSV file.
    pub(super) fn headings(&self) -> Vec<String> {
        headings(&self.heading, self.is_money)
    }

    /// Returns its cells in a CSV file.
    pub(super) fn cells(&self, row: &Value) -> Vec<String> {
        cells(lookup(row, &self.path), self.is_money)
    }
}

/// A row with only the selected fields, in their order.
pub(super) struct Selection<'a> {
    /// The whole row.
    pub(super) row: &'a Value,
    /// The fields to write.
    pub(super) fields: &'a [Selected],
}

impl Serialize for Selection<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.fields.len()))?;
        for field in self.fields {
            object.serialize_entry(&field.name, lookup(self.row, &field.path))?;
        }
        object.end()
    }
}

/// Returns the headings of a field's columns in a CSV file.
fn headings(name: &str, is_money: bool) -> Vec<String> {
    let currency = is_money.then(|| format!("{name}_currency"));
    [name.to_owned()].into_iter().chain(currency).collect()
}

/// Returns the cells of a field's columns in a CSV file.
fn cells(value: &Value, is_money: bool) -> Vec<String> {
    match (is_money, money(value)) {
        (true, Some((amount_minor, code))) => vec![decimal(amount_minor, code), code.to_owned()],
        (true, None) => vec![String::new(), String::new()],
        (false, _) => vec![data(value)],
    }
}

/// Returns the value at a path, or null.
fn lookup<'a>(row: &'a Value, path: &str) -> &'a Value {
    static NOTHING: Value = Value::Null;
    path.split('.').fold(row, |value, name| value.get(name).unwrap_or(&NOTHING))
}

/// Returns the parts of an amount of money.
fn money(value: &Value) -> Option<(i64, &str)> {
    Some((value.get("amount_minor")?.as_i64()?, value.get("currency_code")?.as_str()?))
}

/// Returns a value as plain text: nothing for null, and JSON for what has parts.
fn data(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.iter().all(|value| value.is_number() || value.is_string()) => {
            values.iter().map(data).collect::<Vec<_>>().join(" ")
        }
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FIELDS: &[DataField] = &[
        DataField::value("order_id"),
        DataField::money("total_price"),
        DataField::value("rating_mean").at("rating.mean"),
        DataField::value("order_ids"),
    ];

    #[test]
    fn each_column_of_a_file_has_one_kind_of_value() {
        let row = json!({
            "order_id": 7,
            "total_price": {"amount_minor": -1_250, "currency_code": "GBP"},
            "rating": {"mean": 4.5, "count": 2},
            "order_ids": [3, 4],
        });
        let headings: Vec<_> = FIELDS.iter().flat_map(DataField::headings).collect();
        assert_eq!(headings, ["order_id", "total_price", "total_price_currency", "rating_mean", "order_ids"]);
        let cells: Vec<_> = FIELDS.iter().flat_map(|field| field.cells(&row)).collect();
        assert_eq!(cells, ["7", "-12.50", "GBP", "4.5", "3 4"]);
        let empty: Vec<_> = FIELDS.iter().flat_map(|field| field.cells(&json!({}))).collect();
        assert_eq!(empty, ["", "", "", "", ""]);
    }

    #[test]
    fn selected_fields_come_in_the_order_named() {
        let names = ["total_price", "rating", "order_id"].map(str::to_owned);
        let selected = select(&names, FIELDS).unwrap();
        let row = json!({"order_id": 7, "total_price": null, "rating": {"mean": 5.0}});
        let text = serde_json::to_string(&Selection { row: &row, fields: &selected }).unwrap();
        assert_eq!(text, r#"{"total_price":null,"rating":{"mean":5.0},"order_id":7}"#);
    }

    #[test]
    fn an_unknown_field_is_refused_with_the_known_ones() {
        let failure = select(&["prize".to_owned()], FIELDS).unwrap_err();
        assert!(failure.to_string().contains("prize"), "{failure}");
        assert!(failure.hint().unwrap().contains("total_price"));
        for wrong in ["total_price.amount", "order_id.x", "rating.median", "order_ids.0", ""] {
            assert!(select(&[wrong.to_owned()], FIELDS).is_err(), "{wrong}");
        }
    }

    #[test]
    fn parts_of_an_object_are_selected_by_their_paths() {
        const EVENT: &[DataField] = &[DataField::value("kind"), DataField::object("order", FIELDS)];
        let names = ["order.total_price", "order.rating_mean", "order.total_price.currency_code"];
        let selected = select(&names.map(str::to_owned), EVENT).unwrap();
        let row = json!({"order": {"total_price": {"amount_minor": 5, "currency_code": "GBP"}, "rating": {"mean": 4.5}}});
        let headings: Vec<_> = selected.iter().flat_map(Selected::headings).collect();
        let cells: Vec<_> = selected.iter().flat_map(|field| field.cells(&row)).collect();
        assert_eq!(
            headings,
            [
                "order.total_price",
                "order.total_price_currency",
                "order.rating_mean",
                "order.total_price.currency_code"
            ]
        );
        assert_eq!(cells, ["0.05", "GBP", "4.5", "GBP"]);
        assert!(select(&["order.prize".to_owned()], EVENT).is_err());
    }
}
