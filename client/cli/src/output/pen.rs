//! The lower half of the printer: the properties of standard output, and how it is written.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{Mutex, PoisonError},
};

use anstream::{AutoStream, ColorChoice, stream::RawStream};
use anstyle::Style;
use serde::Serialize;
use serde_json::Value;
use souk_stdio::Stdout;

use super::{
    look::{Look, Shown},
    sheet::Sheet,
};
use crate::{
    Failure,
    fields::{self, Selected, Selection},
    query::Prepared,
    table::paint,
    when::Times,
};

/// A terminal narrower than this is treated as this wide, because less can't be read in any case.
pub(super) const LEAST_WIDTH: usize = 20;

/// Writes to standard output, or to a sheet that is then written.
#[derive(Debug)]
pub(super) struct Pen {
    pub(super) look: Look,
    /// Whether standard output is a terminal.
    pub(super) is_terminal: bool,
    /// Whether colours are wanted and can be seen.
    pub(super) has_color: bool,
    /// The width to fit results to; `None` without a terminal.
    pub(super) width: Option<usize>,
    sheet: Option<Mutex<Sheet>>,
}

impl Pen {
    pub(super) fn new(look: Look) -> Self {
        let has_color = look.color && is_colored(&io::stdout());
        Self {
            look,
            is_terminal: io::stdout().is_terminal(),
            has_color,
            width: terminal_width(),
            sheet: None,
        }
    }

    /// Returns one that writes to a sheet in the same way.
    pub(super) fn with_sheet(&self) -> Self {
        let Self { look, is_terminal, has_color, width, .. } = self;
        Self {
            look: look.clone(),
            is_terminal: *is_terminal,
            has_color: *has_color,
            width: *width,
            sheet: Some(Mutex::default()),
        }
    }

    /// Takes what was written to the sheet, as far as it fits the terminal.
    pub(super) fn screenful(&self) -> String {
        let sheet = self
            .sheet
            .as_ref()
            .map(|sheet| std::mem::take(&mut *sheet.lock().unwrap_or_else(PoisonError::into_inner)));
        sheet.unwrap_or_default().clipped(self.width, terminal_height())
    }

    /// Writes lines.
    pub(super) fn write(&self, lines: &str) -> Result<(), Failure> {
        self.write_raw(&format!("{lines}\n"))
    }

    /// Writes a text, without a line break after it.
    pub(super) fn write_raw(&self, text: &str) -> Result<(), Failure> {
        self.write_rows(text, &[])
    }

    /// Writes a text in which rows of a table end.
    pub(super) fn write_rows(&self, text: &str, ends: &[usize]) -> Result<(), Failure> {
        if let Some(sheet) = &self.sheet {
            sheet.lock().unwrap_or_else(PoisonError::into_inner).add(text, ends);
            return Ok(());
        }
        let written = Stdout.write_all(text.as_bytes()).and_then(|()| Stdout.flush());
        written.map_err(|error| Failure::io("write the result", error))
    }

    /// Writes the result of a query over a document.
    pub(super) fn answer(&self, query: &Prepared, document: &str) -> Result<(), Failure> {
        query.run(document)?.iter().try_for_each(|line| self.write(line))
    }

    /// Returns how times are formatted now.
    pub(super) fn times(&self) -> Times {
        Times::new(self.look.time, self.look.clock.now())
    }

    /// Returns the selected fields of a type of results; empty for all.
    ///
    /// # Errors
    /// The type has no such field.
    pub(super) fn selected<T: Shown>(&self) -> Result<Vec<Selected>, Failure> {
        // Otherwise, an unknown name could not be told from a field that a result lacks.
        const { assert!(!T::SELECTABLE.is_empty(), "a type that is printed names its fields") };
        fields::select(&self.look.fields, T::SELECTABLE)
    }

    /// Returns the style of headings.
    pub(super) fn heading_style(&self) -> Style {
        if self.has_color { Style::new().bold() } else { Style::new() }
    }

    /// Returns a heading in the style of headings.
    pub(super) fn heading(&self, text: &str) -> String {
        paint(self.heading_style(), text)
    }
}

/// Returns a row as JSON with the selected fields, over several lines.
pub(super) fn json(row: &impl Serialize, selected: &[Selected]) -> Result<String, Failure> {
    if selected.is_empty() {
        return serde_json::to_string_pretty(row).map_err(not_written);
    }
    serde_json::to_string_pretty(&Selection { row: &value(row)?, fields: selected }).map_err(not_written)
}

/// Returns a row as JSON with the selected fields, on one line.
pub(super) fn json_line(row: &impl Serialize, selected: &[Selected]) -> Result<String, Failure> {
    if selected.is_empty() {
        return serde_json::to_string(row).map_err(not_written);
    }
    serde_json::to_string(&Selection { row: &value(row)?, fields: selected }).map_err(not_written)
}

/// Returns a row as a value, to look its fields up.
pub(super) fn value(row: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(row).map_err(not_written)
}

pub(super) fn not_written(error: serde_json::Error) -> Failure {
    Failure::io("write JSON", error.into())
}

/// Returns whether colours can be seen on a stream: it is a terminal, and no variable says otherwise.
pub(super) fn is_colored(stream: &impl RawStream) -> bool {
    AutoStream::choice(stream) != ColorChoice::Never
}

/// Returns the width of the terminal, or the variable COLUMNS where there is none.
fn terminal_width() -> Option<usize> {
    let of_terminal = || {
        let (terminal_size::Width(columns), _) = terminal_size::terminal_size_of(io::stdout())?;
        Some(usize::from(columns)).filter(|columns| *columns > 0)
    };
    let set = || std::env::var("COLUMNS").ok()?.parse::<usize>().ok().filter(|columns| *columns > 0);
    of_terminal().or_else(set).map(|columns| columns.max(LEAST_WIDTH))
}

/// Returns the height of the terminal as it is now; `None` without one.
fn terminal_height() -> Option<usize> {
    let (_, terminal_size::Height(lines)) = terminal_size::terminal_size_of(io::stdout())?;
    Some(usize::from(lines)).filter(|lines| *lines > 0)
}
