//! `gen-certs list`: prints the parties as a table or as JSON, and changes nothing.

use std::io::Write;
use std::path::Path;

use clap::ValueEnum;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::pki::{Party, Pki};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  gen-certs.sh list\n  gen-certs.sh list --output json")]
pub(super) struct Args {
    /// Format of the output
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Output {
    /// Columns aligned for reading
    Table,
    /// JSON array with one object per party
    Json,
}

/// One line of the list; its fields are the keys of the JSON output.
#[derive(Serialize)]
struct Row {
    name: String,
    role: String,
    uuid: Option<String>,
    serial: String,
    expires: String,
    status: String,
}

impl Args {
    pub(super) fn run(&self, dir: &Path, now: OffsetDateTime, out: &mut dyn Write) -> anyhow::Result<()> {
        let rows: Vec<Row> = Pki::open(dir)?.parties().iter().map(|party| Row::new(party, now)).collect();
        match self.output {
            Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?,
            Output::Table => {
                let cells: Vec<_> = rows.iter().map(Row::cells).collect();
                write_table(["NAME", "ROLE", "UUID", "SERIAL", "EXPIRES", "STATUS"], &cells, out)?;
            }
        }
        Ok(())
    }
}

impl Row {
    fn new(party: &Party, now: OffsetDateTime) -> Self {
        Row {
            name: party.name.to_string(),
            role: party.identity.role().to_string(),
            uuid: party.identity.uuid().map(|uuid| uuid.to_string()),
            serial: party.serial.clone(),
            expires: party.not_after.format(&Rfc3339).unwrap_or_else(|_| party.not_after.to_string()),
            status: party.status(now).to_string(),
        }
    }

    fn cells(&self) -> [&str; 6] {
        let uuid = self.uuid.as_deref().unwrap_or("-");
        [&self.name, &self.role, uuid, &self.serial, &self.expires, &self.status]
    }
}

/// Writes the rows with columns as wide as their widest cell. All cells are ASCII, so bytes are columns.
pub(super) fn write_table<const N: usize>(
    headings: [&str; N],
    rows: &[[&str; N]],
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let lines: Vec<_> = std::iter::once(&headings).chain(rows).collect();
    let widths: [usize; N] =
        std::array::from_fn(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or(0));
    for line in &lines {
        let padded: Vec<_> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", padded.join("  ").trim_end())?;
    }
    Ok(())
}
