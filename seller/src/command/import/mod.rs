//! `seller import`: streams the rows of a file to the market and reports the ones that are rejected.

mod dialect;
mod duplicates;
mod fields;
mod from;
mod headings;
mod json;
mod lines;
mod part;
mod preview;
mod progress;
mod prune;
mod records;
mod rows;
mod send;
mod source;
mod tally;
#[cfg(test)]
mod tests;
mod values;

use std::{
    io,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use clap::Args;
use souk_cli::{CliSession, Failure};
use souk_help::LESS_COMMON;
use tokio::sync::oneshot;

pub(crate) use dialect::Format;
pub(crate) use values::is_scientific;

use dialect::DialectFlags;
use duplicates::Duplicates;
use fields::Field;
use from::{Defaults, Export, Shop};
use headings::Columns;
use part::Plan;
use prune::Prune;
use send::send_all;
use source::{Input, Source};
use tally::{CORRECT_LINES, Tally};

/// List and change items by the thousand, from a CSV or NDJSON file
///
/// Fields are sku, item_id, name, description, category, price, currency and quantity; a CSV file names
/// them in its first line. Items are known by their sku: new ones are listed, others changed, and those that
/// are that way already left alone, so that a file can be imported again at any time. Without a description
/// an item keeps its own; an empty one removes it.
#[derive(Args)]
#[command(after_help = "Examples:
  seller import items.csv --preview
  seller import catalogue.csv --column sku=StockCode --default category=gifts
  seller import artikel.csv --locale de-DE --currency EUR
  seller import products_export.csv --from shopify --currency EUR
  seller import items.csv --sync --dry-run
  seller export | seller --cert other.pem import -")]
pub(crate) struct Import {
    /// The file, or - for standard input.
    file: PathBuf,
    #[command(flatten)]
    dialect: DialectFlags,
    /// The shop system that exported the file. Rows that are not items, such as pictures and drafts, are skipped.
    #[arg(long, value_name = "SHOP", conflicts_with = "column")]
    from: Option<Shop>,
    /// The heading of a field's column, or the key of its value, if it differs from the field's name. May be repeated.
    #[arg(long, help_heading = LESS_COMMON, value_name = "FIELD=HEADING", value_parser = headings::assignment)]
    column: Vec<(Field, String)>,
    /// A field's value where the file has none. May be repeated.
    #[arg(long, help_heading = LESS_COMMON, value_name = "FIELD=VALUE", value_parser = headings::assignment)]
    default: Vec<(Field, String)>,
    /// What to do if the input contains a SKU more than once.
    #[arg(long, help_heading = LESS_COMMON, default_value = "error")]
    duplicates: Duplicates,
    /// Only show the first five rows as they will be listed.
    ///
    /// Needs no market.
    #[arg(long, conflicts_with = "dry_run")]
    preview: bool,
    /// Only check the rows and count what they would do.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    prune: Prune,
}

impl Import {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        if !self.preview {
            session.printer().expects::<Tally>()?;
        }
        self.prune.check(&self.file, self.dry_run || self.preview)?;
        let columns = Columns::new(&self.column, &self.default, session.currency())?;
        let export = self.from.map(|shop| Export {
            shop,
            defaults: Defaults {
                category: columns.default_of(Field::Category).is_some(),
                quantity: columns.default_of(Field::Quantity).is_some(),
            },
            now: session.clock().now(),
        });
        let mut source = opened(Input { file: self.file, dialect: self.dialect, columns, export }).await?;
        if self.preview {
            return preview::show(source, session);
        }
        for warning in source.take_warnings() {
            session.printer().say(&format!("warning: {warning}"));
        }
        let began = Instant::now();
        let dialect = source.dialect().describe();
        let plan = Plan { source, duplicates: self.duplicates };
        let (mut tally, sent) = send_all(session, plan, self.dry_run).await;
        for note in sent.iter().flat_map(|found| &found.notes) {
            session.printer().say(note);
        }
        let outcome = match &sent {
            Ok(found) if self.prune.is_on() => {
                self.prune.run(session, &found.mentioned, &mut tally, self.dry_run).await
            }
            _ => sent.map(drop),
        };
        session.printer().say(&format!("the file was read as {dialect}"));
        tally.finish(session, dialect, began.elapsed());
        if self.dry_run {
            session.printer().say("this was only a check: nothing was changed");
        }
        session.printer().one(&tally)?;
        outcome?;
        match tally.failed_count {
            0 => Ok(()),
            failed => Err(Failure::usage(
                format!("{failed} of {} rows were left out; the others were imported", tally.rows),
                CORRECT_LINES,
            )),
        }
    }
}

/// Opens a file on a thread of its own: standard input may keep it waiting, and Ctrl-C must end the program all the same.
async fn opened(input: Input) -> Result<Source, Failure> {
    let (done, opened) = oneshot::channel();
    // If the receiver is gone, the program is ending.
    thread::spawn(move || drop(done.send(input.open())));
    opened.await.unwrap_or_else(|_| {
        Err(Failure::io("read the file", io::Error::other("the reading thread has failed")))
    })
}

/// Reads a file, and counts the rows that can be read and those that cannot.
pub(crate) fn count_items(path: &Path) -> Result<(usize, usize), Failure> {
    let columns = Columns::new(&[], &[], Some("GBP"))?;
    let input = Input { file: path.to_owned(), dialect: DialectFlags::default(), columns, export: None };
    let mut source = input.open()?;
    let (mut good, mut bad) = (0, 0);
    while let Some(row) = source.next()? {
        *(if row.item.is_ok() { &mut good } else { &mut bad }) += 1;
    }
    Ok((good, bad))
}

/// Reads the items of a file.
#[cfg(test)]
pub(crate) fn items_of(file: &Path) -> Vec<Result<souk_proto::v1::ImportRow, String>> {
    let input = Input {
        file: file.to_owned(),
        dialect: DialectFlags::default(),
        columns: Columns::new(&[], &[], None).unwrap(),
        export: None,
    };
    let mut source = input.open().unwrap();
    let rows = std::iter::from_fn(|| source.next().unwrap());
    rows.map(|row| row.item.map_err(|refused| refused.problem)).collect()
}
