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
use souk_cli::{CliSession, Failure, format_money, neutral};
use souk_client::error::required;
use souk_proto::v1::{ExportItemsRequest, Item};

use super::import::Format;

/// Write all of your items to a file that `import` reads
#[derive(Args)]
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
            price: format_money(item.unit_price.as_ref()),
            quantity: item.quantity,
        }
    }

    /// Returns the row for a CSV file that is safe to open in a spreadsheet. `import` undoes this.
    fn for_spreadsheets(&self) -> Row<'_> {
        Row {
            sku: neutral(&self.sku),
            name: neutral(&self.name),
            description: neutral(&self.description),
            price: self.price.clone(),
            ..*self
        }
    }
}

enum Writer {
    Csv(Box<csv::Writer<Box<dyn Write + Send>>>),
    Ndjson(Box<dyn Write + Send>),
}

impl Writer {
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
            Box::new(io::BufWriter::new(io::stdout()))
        } else {
            Box::new(io::BufWriter::new(File::create(&file).map_err(failed)?))
        };
        let mut writer = match format {
            Format::Csv => Writer::Csv(Box::new(csv::Writer::from_writer(output))),
            Format::Ndjson => Writer::Ndjson(output),
        };
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
