//! Reads a file of items in parts, each of which is kept until the market has answered it.
//!
//! A part is small enough to be kept in memory, so that it can be sent again after an interruption without reading the
//! file again: standard input can't be read twice, and a file may have changed.

use std::sync::Arc;

use prost::Message as _;
use souk_cli::Failure;
use souk_proto::v1::{ImportRow, RowError};
use tokio::sync::mpsc;

use super::{
    duplicates::{Duplicates, Known},
    from::ShopRows,
    prune::Mentioned,
    rows::{Refused, Row},
    source::Source,
    tally::ReadCount,
};

/// The maximum number of rows in a part. A market forms batches of 200.
const MAX_ROWS: usize = 5_000;
/// The size of the rows at which a part ends, in bytes.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What to read.
pub(super) struct Plan {
    pub(super) source: Source,
    pub(super) duplicates: Duplicates,
}

/// Consecutive rows of the file.
#[derive(Default)]
pub(super) struct Part {
    /// The rows that can be sent.
    pub(super) rows: Arc<Vec<ImportRow>>,
    pub(super) count: ReadCount,
    /// The rows that can't be sent, and why.
    pub(super) refused: Vec<RowError>,
    /// What else to tell the user about the file.
    pub(super) warnings: Vec<String>,
    /// The number of bytes of the file that were read up to here.
    pub(super) position: u64,
}

/// What was found in the whole file.
#[derive(Default)]
pub(super) struct Found {
    /// The items that the rows name.
    pub(super) mentioned: Mentioned,
    /// What to tell the user about the rows.
    pub(super) notes: Vec<String>,
}

/// Reads the file and passes its parts on, until it ends, can't be read further, or the receiver is gone.
pub(super) fn read_parts(plan: Plan, parts: &mpsc::Sender<Result<Part, Failure>>) -> Found {
    let mut reader = Reader { parts, known: Known::default(), left_out: 0, found: Found::default() };
    if let Err(failure) = reader.read(plan) {
        // Without a receiver, nobody needs the failure.
        let _ = parts.blocking_send(Err(failure));
    }
    reader.found
}

struct Reader<'a> {
    parts: &'a mpsc::Sender<Result<Part, Failure>>,
    known: Known,
    /// The number of rows that were no items, of those that were passed on.
    left_out: i64,
    found: Found,
}

/// A part that is being filled.
#[derive(Default)]
struct Filling {
    rows: Vec<ImportRow>,
    bytes: usize,
    count: ReadCount,
    refused: Vec<RowError>,
}

impl Reader<'_> {
    fn read(&mut self, plan: Plan) -> Result<(), Failure> {
        let Plan { mut source, duplicates } = plan;
        let mut filling = Filling::default();
        loop {
            let next = source.next();
            match next {
                Ok(Some(row)) => self.take(row, duplicates, &mut filling),
                // The rows before a failure are sent as well.
                Ok(None) | Err(_) => {
                    self.pass_on(filling, &mut source);
                    self.found.notes = source.shop().map(ShopRows::notes).unwrap_or_default();
                    return next.map(drop);
                }
            }
            let is_full = filling.rows.len() == MAX_ROWS
                || filling.refused.len() == MAX_ROWS
                || filling.bytes >= MAX_BYTES;
            if is_full && !self.pass_on(std::mem::take(&mut filling), &mut source) {
                return Ok(());
            }
        }
    }

    fn take(&mut self, row: Row, duplicates: Duplicates, filling: &mut Filling) {
        filling.count.rows += 1;
        let row = match row.item {
            Ok(item) => item,
            Err(Refused { sku, problem }) => {
                filling.refused.push(RowError { line: row.line, sku, message: problem });
                return;
            }
        };
        let Some(earlier) = self.known.before(&row) else {
            self.found.mentioned.add(&row);
            filling.bytes += row.encoded_len();
            filling.rows.push(row);
            return;
        };
        match duplicates {
            Duplicates::Skip => filling.count.skipped += 1,
            Duplicates::Error => {
                let sku = row.item.and_then(|item| item.sku).unwrap_or_default();
                let message =
                    format!("this sku came in line {earlier} already; give each once, or --duplicates skip");
                filling.refused.push(RowError { line: row.line, sku, message });
            }
        }
    }

    /// Passes a part on. Returns whether there is still a receiver.
    fn pass_on(&mut self, filling: Filling, source: &mut Source) -> bool {
        let Filling { rows, mut count, refused, .. } = filling;
        let left_out = source.shop().map_or(0, ShopRows::left_out);
        let new = left_out - std::mem::replace(&mut self.left_out, left_out);
        count.rows += new;
        count.skipped += new;
        let part = Part {
            rows: Arc::new(rows),
            count,
            refused,
            warnings: source.take_warnings(),
            position: source.position(),
        };
        self.parts.blocking_send(Ok(part)).is_ok()
    }
}
