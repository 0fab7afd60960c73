//! The tally of an import: of every row of the file, over all streams that it took.

use std::time::Duration;

use serde::Serialize;
use souk_cli::{Cell, CliSession, Column, DataField, Shown, plain};
use souk_client::Error;
use souk_proto::v1::{ImportItemsResponse, RowError};

/// The maximum number of refused rows that are printed. All are counted.
const MAX_PRINTED: usize = 1_000;
/// What to do about refused rows.
pub(super) const CORRECT_LINES: &str =
    "correct the lines above and import the file again: rows that were already imported do not change";

/// The number of rows by what the import did with them, and its speed.
#[derive(Debug, Default, Serialize)]
pub(super) struct Tally {
    pub(super) rows: i64,
    pub(super) created_count: i64,
    updated_count: i64,
    unchanged_count: i64,
    skipped_count: i64,
    pub(super) failed_count: i64,
    /// The number of items that `--sync` deleted.
    pub(super) deleted_count: i64,
    seconds: f64,
    rows_per_second: f64,
    /// How the file was read.
    dialect: String,
    #[serde(skip)]
    printed: usize,
}

/// The rows that were read of a part of a file.
#[derive(Debug, Default)]
pub(super) struct ReadCount {
    pub(super) rows: i64,
    pub(super) skipped: i64,
}

/// The progress that an interrupted call reports.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reported {
    /// The number of rows, from the first one, that need not be sent again.
    pub(super) rows: i64,
    counts: [i64; 4],
}

impl Shown for Tally {
    const LIST: &'static str = "imports";
    const COLUMNS: &'static [Column] = &[
        Column::number("ROWS"),
        Column::number("LISTED"),
        Column::number("CHANGED"),
        Column::number("UNCHANGED"),
        Column::number("SKIPPED"),
        Column::number("FAILED"),
        Column::number("DELETED"),
        Column::number("SECONDS").rank(1),
        Column::number("ROWS/S").rank(2),
    ];
    const SELECTABLE: &'static [DataField] = &[
        DataField::value("rows"),
        DataField::value("created_count"),
        DataField::value("updated_count"),
        DataField::value("unchanged_count"),
        DataField::value("skipped_count"),
        DataField::value("failed_count"),
        DataField::value("deleted_count"),
        DataField::value("seconds"),
        DataField::value("rows_per_second"),
        DataField::value("dialect"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let counts = [
            self.rows,
            self.created_count,
            self.updated_count,
            self.unchanged_count,
            self.skipped_count,
            self.failed_count,
            self.deleted_count,
        ];
        let times = [format!("{:.1}", self.seconds), format!("{:.0}", self.rows_per_second)];
        counts.into_iter().map(Cell::from).chain(times.map(Cell::from)).collect()
    }
}

impl Tally {
    /// Counts the rows that were read, whether or not they are imported.
    pub(super) fn read(&mut self, count: &ReadCount) {
        self.rows += count.rows;
        self.skipped_count += count.skipped;
    }

    /// Counts what a call did with its rows.
    pub(super) fn answered(&mut self, answer: &ImportItemsResponse) {
        let ImportItemsResponse { created_count, updated_count, unchanged_count, failed_count, .. } = answer;
        self.add([*created_count, *updated_count, *unchanged_count, *failed_count]);
    }

    /// Counts what a call did with its rows before it was interrupted for good.
    pub(super) fn interrupted(&mut self, reported: &Reported) {
        self.add(reported.counts);
    }

    /// Prints the refused rows of a part of the file, by line: those that this program refused, and the market's.
    /// `count` is how many this program refused.
    pub(super) fn refused(&mut self, session: &CliSession, count: i64, mut errors: Vec<RowError>) {
        self.failed_count += count;
        errors.sort_by_key(|error| error.line);
        let left = MAX_PRINTED - self.printed;
        for error in errors.iter().take(left) {
            print_error(session, error);
            self.printed += 1;
        }
    }

    /// Records how the file was read and how long the import took, and says how many refused rows were not printed.
    pub(super) fn finish(&mut self, session: &CliSession, dialect: String, took: Duration) {
        self.dialect = dialect;
        let unprinted = self.failed_count - i64::try_from(self.printed).unwrap_or(0);
        if unprinted > 0 {
            session.printer().say(&format!("and {unprinted} more rows were refused"));
        }
        self.seconds = took.as_secs_f64();
        self.rows_per_second = self.rows as f64 / self.seconds.max(f64::EPSILON);
    }

    fn add(&mut self, [created, updated, unchanged, failed]: [i64; 4]) {
        self.created_count += created;
        self.updated_count += updated;
        self.unchanged_count += unchanged;
        self.failed_count += failed;
    }
}

impl Reported {
    /// Returns what a failed call reports in its metadata; nothing if it broke, or if the market is of an earlier
    /// version.
    pub(super) fn of(failure: &Error) -> Self {
        let parse = || {
            let metadata = failure.refusal()?.metadata();
            let value = |key: &str| metadata.get(key)?.parse().ok();
            let counts = [
                value("created_count")?,
                value("updated_count")?,
                value("unchanged_count")?,
                value("failed_count")?,
            ];
            Some(Self { rows: value("rows")?, counts })
        };
        parse().unwrap_or_default()
    }
}

/// Prints what is wrong with a row.
pub(super) fn print_error(session: &CliSession, error: &RowError) {
    let RowError { line, sku, message } = error;
    let sku = if sku.is_empty() { String::new() } else { format!(" ({})", plain(sku)) };
    session.printer().say(&format!("line {line}{sku}: {}", plain(message)));
}
