//! `seller import`: streams the rows of a file to the market and reports the ones that are rejected.

mod progress;
mod record;
mod send;
mod source;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use clap::{Args, ValueEnum};
use serde::Serialize;
use souk_cli::{CliSession, Failure, Shown};
use souk_proto::v1::RowError;

use record::{Columns, Duplicates};
use send::Sender;
use source::Source;

/// List and change items by the thousand, from a CSV or NDJSON file
///
/// Fields are sku, item_id, name, description, category, price, currency and quantity; a CSV file names
/// them in its first line. Items are known by their sku: new ones are listed, others changed, and those that
/// are that way already left alone, so that a file can be imported again at any time.
#[derive(Args)]
#[command(after_help = "Examples:
  seller import items.csv --dry-run
  seller import catalogue.csv --column sku=StockCode --column name=Description --column price=UnitPrice \\
      --default category=gifts --default quantity=100 --currency GBP --duplicates skip
  seller export | seller --cert other.pem import -")]
pub(crate) struct Import {
    /// The file, or - for standard input.
    file: PathBuf,
    /// What the file is [default: by its name, otherwise csv].
    #[arg(long)]
    format: Option<Format>,
    /// The heading of a field's column in a CSV file, where it is another than the field's name. May be
    /// repeated.
    #[arg(long, value_name = "FIELD=HEADING", value_parser = record::assignment)]
    column: Vec<(record::Field, String)>,
    /// A field's value where the file has none. May be repeated.
    #[arg(long, value_name = "FIELD=VALUE", value_parser = record::assignment)]
    default: Vec<(record::Field, String)>,
    /// What to do if the input contains a SKU more than once.
    #[arg(long, default_value = "error")]
    duplicates: Duplicates,
    /// Only check the rows and count what they would do; nothing is changed.
    #[arg(long)]
    dry_run: bool,
}

/// What a file of items is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Comma-separated values (RFC 4180), with a heading.
    Csv,
    /// A JSON object on each line.
    Ndjson,
}

impl Format {
    pub(crate) fn of(given: Option<Self>, file: &std::path::Path) -> Self {
        let by_name = match file.extension().and_then(|ending| ending.to_str()) {
            Some("ndjson" | "jsonl") => Self::Ndjson,
            _ => Self::Csv,
        };
        given.unwrap_or(by_name)
    }
}

/// The number of rows by what the import did with them, and its speed.
#[derive(Debug, Default, Serialize)]
struct Tally {
    rows: i64,
    created_count: i64,
    updated_count: i64,
    unchanged_count: i64,
    skipped_count: i64,
    failed_count: i64,
    seconds: f64,
    rows_per_second: f64,
}

impl Shown for Tally {
    const HEADINGS: &'static [&'static str] =
        &["ROWS", "LISTED", "CHANGED", "UNCHANGED", "SKIPPED", "FAILED", "SECONDS", "ROWS/S"];

    fn cells(&self) -> Vec<String> {
        let counts = [
            self.rows,
            self.created_count,
            self.updated_count,
            self.unchanged_count,
            self.skipped_count,
            self.failed_count,
        ];
        let times = [format!("{:.1}", self.seconds), format!("{:.0}", self.rows_per_second)];
        counts.iter().map(i64::to_string).chain(times).collect()
    }
}

impl Import {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let columns = Columns::new(&self.column, &self.default, session.currency())?;
        let format = Format::of(self.format, &self.file);
        let began = Instant::now();
        let sender = Sender::new(session, self.file, format, columns, self.duplicates, self.dry_run);
        let (mut tally, outcome) = sender.run().await;
        tally.seconds = began.elapsed().as_secs_f64();
        tally.rows_per_second = tally.rows as f64 / tally.seconds.max(f64::EPSILON);
        if self.dry_run {
            session.printer().say("this was only a check: nothing was changed");
        }
        session.printer().one(&tally)?;
        outcome?;
        match tally.failed_count {
            0 => Ok(()),
            failed => Err(Failure::usage(
                format!("{failed} of {} rows were left out; the others were imported", tally.rows),
                "correct the lines above and import the file again: rows that are in change nothing",
            )),
        }
    }
}

/// Reads a file, and counts the rows that can be read and those that cannot.
pub(crate) fn count_items(path: &Path) -> Result<(usize, usize), Failure> {
    let columns = Columns::new(&[], &[], Some("GBP"))?;
    let mut source = Source::open(path, Format::of(None, path), columns)?;
    let (mut good, mut bad) = (0, 0);
    while let Some(row) = source.next(path)? {
        *(if row.is_ok() { &mut good } else { &mut bad }) += 1;
    }
    Ok((good, bad))
}

/// Prints what is wrong with a row.
fn print_error(session: &CliSession, error: &RowError) {
    let RowError { line, sku, message } = error;
    let sku = if sku.is_empty() { String::new() } else { format!(" ({})", souk_cli::plain(sku)) };
    session.printer().say(&format!("line {line}{sku}: {}", souk_cli::plain(message)));
}
