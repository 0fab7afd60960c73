//! `seller export`: streams the items to a file, one at a time, so that the catalogue need not fit in
//! memory.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Write},
    path::PathBuf,
};

use clap::Args;
use serde::Serialize;
use souk_cli::{CliSession, Failure, format_amount, neutral};
use souk_client::error::required;
use souk_proto::v1::{ExportItemsRequest, Item};
use souk_stdio::Stdout;

use super::import::{Format, is_scientific};

/// Write all of your items to a file that `import` reads
#[derive(Args)]
#[command(
    after_help = "Examples:\n  seller export items.csv\n  seller export > items.ndjson --format ndjson"
)]
pub(crate) struct Export {
    /// The file [default: standard output].
    file: Option<PathBuf>,
    /// What to write [default: by the file's name, otherwise csv].
    #[arg(long)]
    format: Option<Format>,
}

/// A row, with the fields of an import. Items with a SKU are identified by it on any market, others by their
/// number on this one.
#[derive(Serialize)]
struct Row<'a> {
    sku: Cow<'a, str>,
    item_id: Option<i64>,
    name: Cow<'a, str>,
    description: Cow<'a, str>,
    category: &'a str,
    price: String,
    currency: &'a str,
    quantity: i64,
}

impl<'a> Row<'a> {
    fn of(item: &'a Item) -> Self {
        Self {
            sku: Cow::Borrowed(&item.sku),
            item_id: item.sku.is_empty().then_some(item.item_id),
            name: Cow::Borrowed(&item.name),
            description: Cow::Borrowed(&item.description),
            category: &item.category,
            price: format_amount(item.unit_price.as_ref()),
            currency: item.unit_price.as_ref().map_or("", |price| &price.currency_code),
            quantity: item.quantity,
        }
    }

    /// Returns the row for a CSV file that is safe to open in a spreadsheet. `import` undoes this.
    fn for_spreadsheets(&self) -> Row<'_> {
        Row {
            sku: neutral_sku(&self.sku),
            name: neutral(&self.name),
            description: neutral(&self.description),
            price: self.price.clone(),
            ..*self
        }
    }
}

/// Returns a SKU that is safe to open in a spreadsheet. Unlike [`neutral`], it also adds an apostrophe to a SKU that looks
/// like scientific notation, which `import` would otherwise refuse.
fn neutral_sku(sku: &str) -> Cow<'_, str> {
    if is_scientific(sku.trim_start_matches('\'')) { Cow::Owned(format!("'{sku}")) } else { neutral(sku) }
}

enum Writer<W: Write> {
    Csv(Box<csv::Writer<W>>),
    Ndjson(W),
}

impl<W: Write> Writer<W> {
    fn new(format: Format, output: W) -> Self {
        match format {
            Format::Csv => Self::Csv(Box::new(csv::Writer::from_writer(output))),
            Format::Ndjson => Self::Ndjson(output),
        }
    }

    fn put(&mut self, row: &Row<'_>) -> io::Result<()> {
        match self {
            Self::Csv(writer) => writer.serialize(row.for_spreadsheets()).map_err(io::Error::from),
            Self::Ndjson(writer) => {
                serde_json::to_writer(&mut *writer, row)?;
                writer.write_all(b"\n")
            }
        }
    }

    fn end(self) -> io::Result<()> {
        match self {
            Self::Csv(mut writer) => writer.flush(),
            Self::Ndjson(mut writer) => writer.flush(),
        }
    }
}

impl Export {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let failed = |error| Failure::io("write the items", error);
        let connection = session.connection().await?.clone();
        let opened = connection.seller().export_items(ExportItemsRequest {}).await;
        let mut items = match opened {
            Ok(items) => items.into_inner(),
            Err(status) => return Err(connection.explain(status).await.into()),
        };
        let file = self.file.unwrap_or_else(|| PathBuf::from("-"));
        let format = Format::of(self.format, &file);
        let output: Box<dyn Write + Send> = if file.as_os_str() == "-" {
            Box::new(io::BufWriter::new(Stdout))
        } else {
            Box::new(io::BufWriter::new(File::create(&file).map_err(failed)?))
        };
        let mut writer = Writer::new(format, output);
        let mut count = 0_u64;
        loop {
            match items.message().await {
                Ok(Some(message)) => {
                    writer.put(&Row::of(&required(message.item, "item")?)).map_err(failed)?;
                    count += 1;
                }
                Ok(None) => break,
                Err(status) => {
                    let failure = connection.explain(status).await;
                    session.printer().say(&format!("the file is not whole: it has {count} items"));
                    return Err(failure.into());
                }
            }
        }
        writer.end().map_err(failed)?;
        session.printer().say(&format!("{count} items were written"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use souk_proto::v1::{ImportRow, ItemDraft, Money};

    use super::*;
    use crate::command::import::items_of;

    /// Texts as the market has them: trimmed, and with what is special in CSV, in formulas and in numbers.
    fn text(characters: &str) -> impl Strategy<Value = String> {
        proptest::string::string_regex(characters).unwrap().prop_map(|text| text.trim().to_owned())
    }

    fn item() -> impl Strategy<Value = Item> {
        let name = text("[a-cé'=+@\",;|{} 0-9E.-]{1,12}").prop_filter("a name", |name| !name.is_empty());
        let sku = prop_oneof![text("[A-C'=+@\",;0-9E.-]{0,8}"), text("'{0,2}[0-9][.,][0-9]E\\+[0-9]{2}")];
        let description = text("[a-cé'=+@\",;|\\n\\t -]{0,20}");
        let amount = (0..=1_000_000_000_000_000_i64, prop::sample::select(vec!["GBP", "JPY", "KWD"]));
        (1..1_000_i64, sku, name, description, amount, 0..=1_000_000_000_i64).prop_map(
            |(item_id, sku, name, description, (amount_minor, code), quantity)| Item {
                item_id,
                sku,
                name,
                description,
                category: "home/light".to_owned(),
                unit_price: Some(Money { amount_minor, currency_code: code.to_owned() }),
                quantity,
                ..Item::default()
            },
        )
    }

    fn wanted(item: &Item) -> ImportRow {
        let draft = ItemDraft {
            sku: Some(item.sku.clone()).filter(|sku| !sku.is_empty()),
            name: Some(item.name.clone()),
            description: Some(item.description.clone()),
            category: Some(item.category.clone()),
            unit_price: item.unit_price.clone(),
            quantity: Some(item.quantity),
        };
        let item_id = if item.sku.is_empty() { item.item_id } else { 0 };
        ImportRow { line: 0, item_id, item: Some(draft) }
    }

    proptest! {
        #[test]
        fn an_export_is_imported_without_a_change(items in prop::collection::vec(item(), 1..8)) {
            let folder = tempfile::tempdir().unwrap();
            for (format, name) in [(Format::Csv, "items.csv"), (Format::Ndjson, "items.ndjson")] {
                let path = folder.path().join(name);
                let mut writer = Writer::new(format, File::create(&path).unwrap());
                for item in &items {
                    writer.put(&Row::of(item)).unwrap();
                }
                writer.end().unwrap();
                let found: Vec<_> = items_of(&path)
                    .into_iter()
                    .map(|row| row.map(|row| ImportRow { line: 0, ..row }))
                    .collect();
                let wanted: Vec<_> = items.iter().map(|item| Ok(wanted(item))).collect();
                prop_assert_eq!(found, wanted, "{}", fs::read_to_string(&path).unwrap());
            }
        }
    }
}
