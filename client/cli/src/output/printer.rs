//! Prints results in the format that was asked for.

use std::sync::Arc;

use souk_stdio::errln;

use super::{
    listing::Listing,
    look::{Look, Output, Shown},
    pen::{LEAST_WIDTH, Pen, json, json_line},
};
use crate::{Failure, table::wrapped, when::When};

/// Moves the cursor to the top left corner and clears the screen below it (ECMA-48, CUP and ED).
const CLEAR: &str = "\x1b[H\x1b[J";

/// Prints results in one format. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Printer(Arc<Pen>);

impl Printer {
    /// Creates a printer. Colours are used on a terminal, unless `NO_COLOR` or `TERM=dumb` is set; rows are fitted to
    /// the width of the terminal, or to `COLUMNS`.
    pub fn new(look: Look) -> Self {
        Self(Arc::new(Pen::new(look)))
    }

    /// Returns the format that the printer was created with.
    pub fn output(&self) -> Output {
        self.0.look.output
    }

    /// Returns whether results are tables and sentences for people rather than data.
    pub fn is_for_people(&self) -> bool {
        let look = &self.0.look;
        look.output == Output::Table && look.query.is_none() && look.fields.is_empty()
    }

    /// Returns whether standard output is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.0.is_terminal
    }

    /// Returns the width of the terminal; `None` without one.
    pub fn width(&self) -> Option<usize> {
        self.0.width
    }

    /// Formats a time for a line that stays while time goes on: as the time of day or, in UTC, in RFC 3339.
    pub fn time_of_day(&self, when: When) -> String {
        self.0.times().of_day(when)
    }

    /// Checks that results of a type have the selected fields. A command that changes something does so before the change,
    /// which would otherwise have taken place when the result can't be printed.
    ///
    /// # Errors
    /// The type has no such field.
    pub fn expects<T: Shown>(&self) -> Result<(), Failure> {
        self.0.selected::<T>().map(drop)
    }

    /// Prints several values of a type.
    pub fn list<T: Shown>(&self, rows: &[T]) -> Result<(), Failure> {
        let mut listing = Listing::new(&self.0)?;
        listing.add(rows)?;
        listing.end("")
    }

    /// Prints one value, as a table of one row.
    pub fn one<T: Shown>(&self, row: &T) -> Result<(), Failure> {
        let pen = &self.0;
        match (&pen.look.query, pen.look.output) {
            (Some(query), _) => pen.answer(&query.prepare()?, &json(row, &pen.selected::<T>()?)?),
            (None, Output::Json) => pen.write(&json(row, &pen.selected::<T>()?)?),
            (None, _) => self.list(std::slice::from_ref(row)),
        }
    }

    /// Prints one value with many fields, as lines of name and value.
    pub fn card<T: Shown>(&self, row: &T) -> Result<(), Failure> {
        if !self.is_for_people() {
            return self.one(row);
        }
        let pen = &self.0;
        let times = pen.times();
        let fields: Vec<_> = T::CARD
            .iter()
            .zip(row.card_cells())
            .filter(|(column, _)| column.is_for(pen.look.program))
            .map(|(column, cell)| (column.heading(), cell))
            .collect();
        let indent = fields.iter().map(|(heading, _)| heading.len()).max().unwrap_or(0);
        let room = pen.width.map_or(usize::MAX, |width| width.saturating_sub(indent + 2).max(LEAST_WIDTH));
        let mut text = String::new();
        for (heading, cell) in fields {
            // Further lines are indented like the first, so that another party's text can't pass for a field.
            for (number, line) in wrapped(&cell.full(&times), room, usize::MAX).iter().enumerate() {
                let heading = if number == 0 { heading } else { "" };
                let heading = pen.heading(&format!("{heading:>indent$}"));
                let line = if pen.has_color { cell.painted(line) } else { line.clone() };
                text.push_str(format!("{heading}  {line}").trim_end());
                text.push('\n');
            }
        }
        pen.write_raw(&text)
    }

    /// Prints a sentence for people, which is left out of JSON output.
    pub fn say(&self, sentence: &str) {
        errln!("{sentence}");
    }

    /// Prints an event on one line.
    pub fn event<T: Shown>(&self, event: &T, sentence: &str) -> Result<(), Failure> {
        let pen = &self.0;
        match (&pen.look.query, pen.look.output) {
            (Some(query), _) => pen.answer(&query.prepare()?, &json_line(event, &pen.selected::<T>()?)?),
            (None, Output::Table) if pen.look.fields.is_empty() => pen.write(sentence),
            (None, Output::Csv) => Listing::endless(pen, true)?.add(std::slice::from_ref(event)),
            (None, _) => pen.write(&json_line(event, &pen.selected::<T>()?)?),
        }
    }

    /// Writes a text to standard output, without a line break after it.
    ///
    /// # Errors
    /// The text can't be written, for a reason other than a closed pipe.
    pub fn write_raw(&self, text: &str) -> Result<(), Failure> {
        self.0.write_raw(text)
    }

    /// Replaces what is on the terminal by what `show` prints, as far as it fits: what scrolls off could not be replaced
    /// the next time.
    pub(crate) fn screen(&self, show: impl FnOnce(&Self) -> Result<(), Failure>) -> Result<(), Failure> {
        self.write_raw(CLEAR)?;
        let sheet = Self(Arc::new(self.0.with_sheet()));
        show(&sheet)?;
        self.write_raw(&sheet.0.screenful())
    }

    /// Begins a list that is printed page by page.
    pub(crate) fn listing<T: Shown>(&self) -> Result<Listing<'_, T>, Failure> {
        Listing::new(&self.0)
    }

    /// Begins a list of rows that are printed one by one, for as long as the program runs.
    pub(crate) fn stream<T: Shown>(&self) -> Result<Listing<'_, T>, Failure> {
        Listing::endless(&self.0, false)
    }
}
