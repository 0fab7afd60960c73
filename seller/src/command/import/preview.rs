//! `seller import --preview`: shows the first rows of a file as they will be listed, without a market.

use serde::Serialize;
use souk_cli::{Cell, CliSession, Column, DataField, Failure, Shown, format_money, plain, prose};
use souk_domain::{Category, Description, ItemName, Money, Quantity, Sku};
use souk_proto::v1::{ImportRow, RowError};

use super::{rows::Refused, source::Source, tally::print_error};

/// The number of rows that are shown.
const ROWS: usize = 5;
/// The number of characters of a description in a table.
const DESCRIPTION_CHARS: usize = 40;

/// A row as it will be listed.
#[derive(Debug, Serialize)]
struct PreviewRow {
    line: i64,
    sku: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_id: Option<i64>,
    name: String,
    category: String,
    price: String,
    quantity: i64,
    /// `None` if the file has none, so that an item keeps its own.
    description: Option<String>,
}

impl From<ImportRow> for PreviewRow {
    fn from(row: ImportRow) -> Self {
        let item = row.item.unwrap_or_default();
        Self {
            line: row.line,
            sku: plain(item.sku()),
            item_id: Some(row.item_id).filter(|id| *id != 0),
            name: plain(item.name()),
            category: plain(item.category()),
            price: format_money(item.unit_price.as_ref()),
            quantity: item.quantity(),
            description: item.description.as_deref().map(prose),
        }
    }
}

impl Shown for PreviewRow {
    const LIST: &'static str = "rows";
    const COLUMNS: &'static [Column] = &[
        Column::number("LINE"),
        Column::word("SKU").rank(3),
        Column::text("NAME"),
        Column::text("CATEGORY").rank(2),
        Column::number("PRICE"),
        Column::number("UNITS"),
        Column::text("DESCRIPTION").rank(1),
    ];
    const SELECTABLE: &'static [DataField] = &[
        DataField::value("line"),
        DataField::value("sku"),
        DataField::value("item_id"),
        DataField::value("name"),
        DataField::value("category"),
        DataField::value("price"),
        DataField::value("quantity"),
        DataField::value("description"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let which = match self.item_id {
            Some(id) if self.sku.is_empty() => format!("item {id}"),
            _ => self.sku.clone(),
        };
        vec![
            self.line.into(),
            which.into(),
            Cell::from(&self.name),
            Cell::from(&self.category),
            Cell::from(&self.price),
            self.quantity.into(),
            self.description.as_deref().map_or_else(|| "(stays)".to_owned(), in_one_line).into(),
        ]
    }
}

fn in_one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(DESCRIPTION_CHARS) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

/// Returns why the market would refuse a row, as far as that follows from the row alone. What depends on the shop, such as
/// whether an item exists, only the market knows.
fn refusal(row: &ImportRow) -> Option<String> {
    let item = row.item.as_ref()?;
    let wrong = |field: &str, problem: Option<String>| Some(format!("{field} {}", problem?));
    let text = |value: Option<&String>, parse: fn(&str) -> Option<String>| value.and_then(|text| parse(text));
    let problems = [
        wrong("sku", text(item.sku.as_ref(), |sku| problem(Sku::parse(sku)))),
        wrong("name", text(item.name.as_ref(), |name| problem(ItemName::parse(name)))),
        wrong("description", text(item.description.as_ref(), |text| problem(Description::parse(text)))),
        wrong("category", text(item.category.as_ref(), |path| problem(Category::parse(path)))),
        wrong(
            "price",
            item.unit_price
                .as_ref()
                .and_then(|price| problem(Money::price(price.amount_minor, &price.currency_code))),
        ),
        wrong("quantity", item.quantity.and_then(|units| problem(Quantity::parse(units)))),
    ];
    let problems: Vec<_> = problems.into_iter().flatten().collect();
    (!problems.is_empty()).then(|| problems.join("; "))
}

fn problem<T>(parsed: Result<T, impl ToString>) -> Option<String> {
    parsed.err().map(|problem| problem.to_string())
}

/// Shows the first rows. Fails if one of them would be refused.
pub(super) fn show(mut source: Source, session: &CliSession) -> Result<(), Failure> {
    let printer = session.printer();
    let (mut rows, mut refused) = (Vec::new(), 0);
    while rows.len() + refused < ROWS {
        let Some(row) = source.next()? else { break };
        let item = row.item.and_then(|item| match refusal(&item) {
            None => Ok(item),
            Some(problem) => Err(Refused { sku: item.item.unwrap_or_default().sku().to_owned(), problem }),
        });
        match item {
            Ok(item) => rows.push(PreviewRow::from(item)),
            Err(Refused { sku, problem }) => {
                refused += 1;
                print_error(session, &RowError { line: row.line, sku, message: problem });
            }
        }
    }
    for warning in source.take_warnings() {
        printer.say(&format!("warning: {warning}"));
    }
    printer.list(&rows)?;
    let count = rows.len() + refused;
    printer.say(&format!(
        "the first {count} rows, read as {}; nothing was imported",
        source.dialect().describe()
    ));
    match refused {
        0 => Ok(()),
        _ => Err(Failure::usage(
            format!("{refused} of the first {count} rows would be left out"),
            "correct the lines above, or pass --delimiter, --encoding or --decimal if the file was read wrongly",
        )),
    }
}
