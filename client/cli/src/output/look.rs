//! What can be printed, and how it looks.

use serde::{Deserialize, Serialize};
use souk_certs::clock::Clock;

use crate::{
    fields::DataField,
    query::Query,
    table::{Cell, Column},
    when::TimeStyle,
};

/// The format of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// A table for people, which fits the terminal.
    #[default]
    Table,
    /// One JSON document. A list is an object with the rows under their plural name, and `next_page_token`.
    Json,
    /// One JSON object per line.
    Ndjson,
    /// The fields, separated by commas (RFC 4180). A text that a spreadsheet would take for a formula has an
    /// apostrophe in front.
    Csv,
}

/// A type that can be printed: as a row of a table, a card, a row of a CSV file, and through `Serialize` as JSON.
pub trait Shown: Serialize {
    /// The name of a list of these in JSON: the contract's plural, such as `orders`.
    const LIST: &'static str;
    /// The columns, one for each of the [`cells`](Self::cells), in the same order.
    const COLUMNS: &'static [Column];
    /// The fields of a CSV file. Without any, it has the columns of the table.
    const FIELDS: &'static [DataField] = &[];
    /// The fields for `--fields`: all that the JSON output has. By default, those of a CSV file. A type without any can't
    /// be printed.
    const SELECTABLE: &'static [DataField] = Self::FIELDS;
    /// The fields on a card, one for each of the [`card_cells`](Self::card_cells), in the same order. By default, those of
    /// the table.
    const CARD: &'static [Column] = Self::COLUMNS;
    /// The JSON fields that change as time passes. A watched result is not printed again if only these have changed.
    const PASSING: &'static [&'static str] = &[];

    /// Returns the cells of the row.
    fn cells(&self) -> Vec<Cell>;

    /// Returns the cells of the card.
    fn card_cells(&self) -> Vec<Cell> {
        self.cells()
    }
}

/// How a printer shows results.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// The format.
    pub output: Output,
    /// Whether colours are wanted. They are used only where they can be seen.
    pub color: bool,
    /// How tables and cards show times.
    pub time: TimeStyle,
    /// The program, whose user needs no column with their own name.
    pub program: &'static str,
    /// The clock by which times are relative.
    pub clock: Clock,
    /// The selected fields; empty for all.
    pub(crate) fields: Vec<String>,
    /// The filter or template that is applied to the JSON output.
    pub(crate) query: Option<Query>,
}

impl Look {
    /// Returns the look of results in a format, without colours.
    pub fn of(output: Output) -> Self {
        Self { output, ..Self::default() }
    }
}
