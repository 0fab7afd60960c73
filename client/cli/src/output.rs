//! Results on standard output, everything else on standard error.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use comfy_table::{Attribute, Cell, ContentArrangement, Table, presets};
use nu_ansi_term::{Color, Style};
use serde::{Deserialize, Serialize};

use crate::{Failure, neutral};

/// The format of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// A table for people.
    #[default]
    Table,
    /// One JSON document (a list is an array).
    Json,
    /// One JSON object per line.
    Ndjson,
    /// The table's columns, separated by commas (RFC 4180). A text that a spreadsheet would take for a formula has an
    /// apostrophe in front.
    Csv,
}

/// A type that can be printed: as a row of a table, and through `Serialize` as JSON.
pub trait Shown: Serialize {
    /// The headings of the columns, one for each of the [`cells`](Self::cells), in the same order.
    const HEADINGS: &'static [&'static str];

    /// Returns the cells of the row.
    fn cells(&self) -> Vec<String>;
}

/// Prints results in one format.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    output: Output,
    color: bool,
}

impl Printer {
    /// Creates a printer for this format. Colours are used only on a terminal.
    pub fn new(output: Output, color: bool) -> Self {
        Self { output, color: color && io::stdout().is_terminal() }
    }

    /// Returns the format that the printer was created with.
    pub fn output(&self) -> Output {
        self.output
    }

    /// Prints several values of a type; in JSON as an array.
    pub fn list<T: Shown>(&self, rows: &[T]) -> Result<(), Failure> {
        match self.output {
            Output::Table if rows.is_empty() => {
                eprintln!("nothing to show");
                Ok(())
            }
            Output::Table => write(&self.table(rows)),
            Output::Json => write(&pretty(&rows)?),
            Output::Ndjson => rows.iter().try_for_each(|row| write(&compact(row)?)),
            Output::Csv => csv(Some(T::HEADINGS), rows),
        }
    }

    /// Prints one value, as a table of one row.
    pub fn one<T: Shown>(&self, row: &T) -> Result<(), Failure> {
        match self.output {
            Output::Table => write(&self.table(std::slice::from_ref(row))),
            Output::Json => write(&pretty(row)?),
            Output::Ndjson => write(&compact(row)?),
            Output::Csv => csv(Some(T::HEADINGS), std::slice::from_ref(row)),
        }
    }

    /// Prints one value with many fields, as lines of name and value.
    pub fn card<T: Shown>(&self, row: &T) -> Result<(), Failure> {
        if self.output != Output::Table {
            return self.one(row);
        }
        let width = T::HEADINGS.iter().map(|heading| heading.len()).max().unwrap_or(0);
        for (heading, value) in T::HEADINGS.iter().zip(row.cells()) {
            // Further lines are indented like the first, so that another party's text can't pass for a field.
            let value = value.replace('\n', &format!("\n{:width$}  ", ""));
            write(&format!("{}  {value}", self.bold(&format!("{heading:>width$}"))))?;
        }
        Ok(())
    }

    /// Prints a sentence for people, which is left out of JSON output.
    pub fn say(&self, sentence: &str) {
        eprintln!("{sentence}");
    }

    /// Prints an event on one line.
    pub fn event<T: Shown>(&self, event: &T, sentence: &str) -> Result<(), Failure> {
        match self.output {
            Output::Table => write(sentence),
            Output::Json | Output::Ndjson => write(&compact(event)?),
            Output::Csv => csv(None, std::slice::from_ref(event)),
        }
    }

    fn table<T: Shown>(&self, rows: &[T]) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        // Bold by means of the table, because it would count escape sequences as characters.
        table.set_header(T::HEADINGS.iter().map(|heading| match Cell::new(heading) {
            cell if self.color => cell.add_attribute(Attribute::Bold),
            cell => cell,
        }));
        for row in rows {
            table.add_row(row.cells());
        }
        let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    }

    fn bold(&self, text: &str) -> String {
        if self.color { Style::new().bold().paint(text).to_string() } else { text.to_owned() }
    }
}

/// Ends a program: reports its failure, if it has failed, and returns its exit code.
pub fn ended(outcome: Result<(), Failure>, output: Output) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure, output);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Prints a failure, and what to do about it, on standard error.
pub(super) fn report(failure: &Failure, output: Output) {
    let hint = failure.hint();
    if matches!(output, Output::Table | Output::Csv) {
        let label = |text, color: Color| {
            if io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
                color.bold().paint(text).to_string()
            } else {
                String::from(text)
            }
        };
        eprintln!("{}: {}", label("error", Color::Red), super::plain(&failure.to_string()));
        if let Some(hint) = hint {
            eprintln!("{}: {hint}", label("hint", Color::Yellow));
        }
        return;
    }
    let reason = failure.refusal().and_then(|refusal| refusal.reason()).map(|reason| reason.as_str());
    let error = serde_json::json!({
        "error": { "message": failure.to_string(), "reason": reason, "hint": hint, "exit_code": failure.exit_code() }
    });
    eprintln!("{error}");
}

fn csv<T: Shown>(headings: Option<&[&str]>, rows: &[T]) -> Result<(), Failure> {
    let failed = |error: csv::Error| Failure::io("write CSV", error.into());
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    if let Some(headings) = headings {
        writer.write_record(headings.iter().map(|heading| heading.to_lowercase())).map_err(failed)?;
    }
    for row in rows {
        let cells = row.cells();
        writer.write_record(cells.iter().map(|cell| neutral(cell).into_owned())).map_err(failed)?;
    }
    let bytes = writer.into_inner().map_err(|error| Failure::io("write CSV", error.into_error()))?;
    write(String::from_utf8_lossy(&bytes).trim_end_matches("\r\n"))
}

/// Writes to standard output. If the reader has gone away (`| head`), the program exits quietly.
fn write(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::io("write the result", error)),
    }
}

fn pretty(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::io("write JSON", error.into()))
}

fn compact(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::io("write JSON", error.into()))
}
