//! SKUs that a file contains more than once.

use std::collections::{HashMap, hash_map::Entry};

use clap::ValueEnum;
use souk_proto::v1::ImportRow;

/// What to do if the input contains a SKU more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Duplicates {
    /// Leave all but the first out, as wrong.
    Error,
    /// Leave all but the first out.
    Skip,
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
