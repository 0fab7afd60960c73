//! Measured figures with their targets: printed as tables, and written as JSON for `bench chart`.

use std::{fs, path::Path};

use anyhow::Context as _;
use serde_json::{Value, json};

/// Width of the column of names.
const NAME_WIDTH: usize = 50;

/// The bound of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    /// Returns whether a value keeps the bound. One that could not be computed does not.
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }

    /// Returns the same kind of bound at another value.
    fn at(self, value: f64) -> Self {
        match self {
            Self::AtMost(_) => Self::AtMost(value),
            Self::AtLeast(_) => Self::AtLeast(value),
        }
    }

    fn value(self) -> f64 {
        let (Self::AtMost(value) | Self::AtLeast(value)) = self;
        value
    }

    /// Returns the bound as a target with another one beyond it.
    pub(crate) fn stretch(self, stretch: f64) -> Target {
        Target { bound: self, stretch: Some(stretch) }
    }
}

/// What a figure should reach, and what it would reach at best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Target {
    bound: Bound,
    stretch: Option<f64>,
}

impl From<Bound> for Target {
    fn from(bound: Bound) -> Self {
        Self { bound, stretch: None }
    }
}

impl Target {
    /// Formats the target with the verdict on a value.
    fn verdict(self, value: f64) -> String {
        let sign = if matches!(self.bound, Bound::AtMost(_)) { "≤" } else { "≥" };
        let verdict = match self.stretch {
            _ if !self.bound.holds(value) => "missed".to_owned(),
            Some(stretch) if self.bound.at(stretch).holds(value) => {
                format!("reached, and {sign} {} too", number(stretch))
            }
            _ => "reached".to_owned(),
        };
        format!("{sign} {}: {verdict}", number(self.bound.value()))
    }
}

/// Returns the target of at most the first value, and at best the second.
pub(crate) fn at_most((most, best): (f64, f64)) -> Target {
    Bound::AtMost(most).stretch(best)
}

/// Returns the target of at least the first value, and at best the second.
pub(crate) fn at_least((least, best): (f64, f64)) -> Target {
    Bound::AtLeast(least).stretch(best)
}

/// Values by row and column; a value that was not measured is `None`.
pub(crate) struct Table {
    /// The key of the table in the JSON.
    name: &'static str,
    /// What the values are, with their unit.
    caption: String,
    columns: Vec<String>,
    rows: Vec<(String, Vec<Option<f64>>)>,
}

impl Table {
    pub(crate) fn new(name: &'static str, caption: impl Into<String>, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Self { name, caption: caption.into(), columns, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, label: impl Into<String>, values: Vec<Option<f64>>) {
        self.rows.push((label.into(), values));
    }

    fn print(&self) {
        let labels = self.rows.iter().map(|(label, _)| label.chars().count());
        let label_width = labels.max().unwrap_or_default();
        let widths: Vec<_> = self.columns.iter().map(|column| column.chars().count().max(9)).collect();
        println!("\n{}", self.caption);
        let cells = |label: &str, cells: &mut dyn Iterator<Item = String>| {
            let cells: Vec<_> = cells.zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
            println!("{label:<label_width$} {}", cells.join(" "));
        };
        cells("", &mut self.columns.iter().cloned());
        for (label, values) in &self.rows {
            cells(label, &mut values.iter().map(|value| value.map_or("–".to_owned(), number)));
        }
    }

    fn to_json(&self) -> Value {
        let rows = self.rows.iter().map(|(label, values)| json!({ "label": label, "values": values }));
        json!({
            "name": self.name,
            "caption": self.caption,
            "columns": self.columns,
            "rows": rows.collect::<Vec<_>>(),
        })
    }
}

/// A figure with its target.
struct Figure {
    name: String,
    median: f64,
    range: (f64, f64),
    target: Target,
}

/// Everything that a command has measured.
pub(crate) struct Report {
    command: String,
    tables: Vec<Table>,
    figures: Vec<Figure>,
    skipped: Vec<String>,
}

impl Report {
    /// Begins the report of a command.
    pub(crate) fn of(command: impl Into<String>) -> Self {
        Self { command: command.into(), tables: Vec::new(), figures: Vec::new(), skipped: Vec::new() }
    }

    /// Prints a table, and keeps it for the JSON.
    pub(crate) fn table(&mut self, table: Table) {
        table.print();
        self.tables.push(table);
    }

    /// Adds a figure, of which there is one value for each round. The median counts.
    pub(crate) fn judge(&mut self, name: impl Into<String>, values: &[f64], target: impl Into<Target>) {
        let range = if values.is_empty() { (f64::NAN, f64::NAN) } else { bounds(values) };
        let median = median(values.iter().copied());
        self.figures.push(Figure { name: name.into(), median, range, target: target.into() });
    }

    /// Notes what could not be measured, and why.
    pub(crate) fn skip(&mut self, what: &str, why: &str) {
        println!("skipped: {what}: {why}");
        self.skipped.push(format!("{what}: {why}"));
    }

    /// Prints the figures with their verdicts, and writes everything to a file. Returns whether all targets were
    /// reached.
    pub(crate) fn finish(self, file: Option<&Path>) -> anyhow::Result<bool> {
        println!("\n{:<NAME_WIDTH$} {:>9} {:>9} {:>9}   target", "figure", "median", "min", "max");
        for Figure { name, median, range: (least, most), target } in &self.figures {
            let (verdict, least, most) = (target.verdict(*median), number(*least), number(*most));
            println!("{name:<NAME_WIDTH$} {:>9} {least:>9} {most:>9}   {verdict}", number(*median));
        }
        for skipped in &self.skipped {
            println!("skipped: {skipped}");
        }
        if let Some(file) = file {
            let text = serde_json::to_string_pretty(&self.to_json())? + "\n";
            fs::write(file, text).with_context(|| format!("can't write {}", file.display()))?;
        }
        let reached = self.figures.iter().filter(|figure| figure.target.bound.holds(figure.median)).count();
        println!("{}: {reached} of {} reached", self.command, self.figures.len());
        Ok(reached == self.figures.len())
    }

    fn to_json(&self) -> Value {
        let figures = self.figures.iter().map(|figure| {
            let Figure { name, median, range, target: Target { bound, stretch } } = figure;
            let kind = if matches!(bound, Bound::AtMost(_)) { "at most" } else { "at least" };
            json!({
                "name": name, "median": median, "min": range.0, "max": range.1, "bound": kind,
                "target": bound.value(), "stretch": stretch, "reached": bound.holds(*median),
            })
        });
        json!({
            "command": self.command,
            "machine": machine(),
            "tables": self.tables.iter().map(Table::to_json).collect::<Vec<_>>(),
            "figures": figures.collect::<Vec<_>>(),
            "skipped": self.skipped,
        })
    }
}

/// Formats a number with about three significant digits.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "–".to_owned();
    }
    let digits = match size {
        _ if size >= 100.0 || value.fract() == 0.0 => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

/// Returns the median, which is the mean of the two middle values if their number is even, and NaN if there are none.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}

/// Returns the least and the greatest value.
pub(crate) fn bounds(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(*value), most.max(*value)))
}

/// Describes the machine and the build, without which figures mean nothing.
fn machine() -> Value {
    let line = |file: &str, key: &str| -> Option<String> {
        let text = fs::read_to_string(file).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim_start_matches([' ', '\t', ':']).trim().to_owned())
    };
    let memory = line("/proc/meminfo", "MemTotal").and_then(|memory| {
        let kibibytes: f64 = memory.strip_suffix(" kB")?.parse().ok()?;
        Some(format!("{:.0} GB of memory", kibibytes * 1_024.0 / 1e9))
    });
    json!({
        "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "processor": line("/proc/cpuinfo", "model name"),
        "memory": memory,
        "build": if cfg!(debug_assertions) { "debug build" } else { "release build" },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_holds_on_its_side_and_never_for_what_was_not_measured() {
        assert!(Bound::AtMost(2.0).holds(2.0) && !Bound::AtMost(2.0).holds(2.1));
        assert!(Bound::AtLeast(2.0).holds(2.0) && !Bound::AtLeast(2.0).holds(1.9));
        assert!(!Bound::AtMost(2.0).holds(f64::NAN) && !Bound::AtLeast(2.0).holds(f64::NAN));
        let verdicts = [2.0, 1.2, 1.0].map(|value| Bound::AtMost(1.5).stretch(1.0).verdict(value));
        assert_eq!(verdicts, ["≤ 1.50: missed", "≤ 1.50: reached", "≤ 1.50: reached, and ≤ 1 too"]);
        assert_eq!(Target::from(Bound::AtLeast(8.0)).verdict(12.0), "≥ 8: reached");
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert!(median(std::iter::empty()).is_nan());
    }

    #[test]
    fn numbers_have_about_three_digits() {
        let shown = [0.0123, 1.234, 12.34, 1_234.5, 2.0, f64::NAN].map(number);
        assert_eq!(shown, ["0.012", "1.23", "12.3", "1234", "2", "–"]);
    }
}
