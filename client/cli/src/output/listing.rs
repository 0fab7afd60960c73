//! Lists that are printed page by page, as the pages come.

use std::marker::PhantomData;

use souk_stdio::errln;

use super::{
    look::{Output, Shown},
    pen::{Pen, json, json_line, not_written, value},
};
use crate::{
    Failure,
    fields::{DataField, Selected},
    neutral,
    query::Prepared,
    table::{Cell, Layout, Place},
    when::Times,
};

/// A list that is being printed. Tables keep the widths that fit their first page.
pub(crate) struct Listing<'a, T> {
    pen: &'a Pen,
    form: Form,
    /// The selected fields; empty for all.
    fields: Vec<Selected>,
    /// The number of rows so far.
    count: usize,
    row: PhantomData<T>,
}

enum Form {
    Table(Option<Layout>),
    Json,
    Lines,
    /// Whether the headings have been written.
    Csv(bool),
    /// A query over the whole list, whose rows are collected, as JSON.
    Query(Prepared, Vec<String>),
    /// A query over each row.
    QueryEach(Prepared),
}

impl<'a, T: Shown> Listing<'a, T> {
    /// Begins a list.
    ///
    /// # Errors
    /// The query or the selection of fields is wrong.
    pub(super) fn new(pen: &'a Pen) -> Result<Self, Failure> {
        let look = &pen.look;
        let form = match (&look.query, look.output) {
            (Some(query), Output::Ndjson) => Form::QueryEach(query.prepare()?),
            (Some(query), _) => Form::Query(query.prepare()?, Vec::new()),
            (None, Output::Table) => Form::Table(None),
            (None, Output::Json) => Form::Json,
            (None, Output::Ndjson) => Form::Lines,
            (None, Output::Csv) => Form::Csv(false),
        };
        Ok(Self { pen, form, fields: pen.selected::<T>()?, count: 0, row: PhantomData })
    }

    /// Begins a list of rows that are printed one by one for as long as the program runs: in JSON, each is a document of
    /// its own, on one line. `has_headings` is whether those of a CSV file have been written.
    pub(super) fn endless(pen: &'a Pen, has_headings: bool) -> Result<Self, Failure> {
        let listing = Self::new(pen)?;
        let form = match listing.form {
            Form::Csv(_) => Form::Csv(has_headings),
            Form::Query(query, _) => Form::QueryEach(query),
            Form::Json => Form::Lines,
            form => form,
        };
        Ok(Self { form, ..listing })
    }

    /// Adds a page of rows.
    ///
    /// # Errors
    /// The rows can't be written, or don't fit the query.
    pub(crate) fn add(&mut self, rows: &[T]) -> Result<(), Failure> {
        let pen = self.pen;
        match &mut self.form {
            Form::Table(_) if rows.is_empty() => {}
            Form::Table(_) => self.add_to_table(rows)?,
            Form::Json => {
                let mut text = String::new();
                for (number, row) in (self.count..).zip(rows) {
                    match number {
                        0 => text.push_str(&head::<T>()),
                        _ => text.push_str(",\n"),
                    }
                    let row = json(row, &self.fields)?;
                    let lines: Vec<_> = row.lines().map(|line| format!("    {line}")).collect();
                    text.push_str(&lines.join("\n"));
                }
                pen.write_raw(&text)?;
            }
            Form::Lines => {
                let lines: Result<Vec<_>, _> = rows.iter().map(|row| json_line(row, &self.fields)).collect();
                pen.write_raw(&lines?.iter().map(|line| format!("{line}\n")).collect::<String>())?;
            }
            Form::Csv(has_headings) => {
                let with_headings = !std::mem::replace(has_headings, true);
                let text = csv(rows, &self.fields, with_headings)?;
                pen.write_raw(&text)?;
            }
            Form::Query(_, collected) => {
                for row in rows {
                    collected.push(json_line(row, &self.fields)?);
                }
            }
            Form::QueryEach(query) => {
                for row in rows {
                    pen.answer(query, &json_line(row, &self.fields)?)?;
                }
            }
        }
        self.count += rows.len();
        Ok(())
    }

    /// Ends the list. `next_page_token` is empty if there is nothing more.
    ///
    /// # Errors
    /// The end can't be written, or the list does not fit the query.
    pub(crate) fn end(self, next_page_token: &str) -> Result<(), Failure> {
        let token = serde_json::to_string(next_page_token).map_err(not_written)?;
        match &self.form {
            Form::Table(_) if self.count == 0 => {
                errln!("nothing to show");
                Ok(())
            }
            Form::Json => {
                let rows =
                    if self.count == 0 { format!("{{\n  {:?}: []", T::LIST) } else { "\n  ]".to_owned() };
                self.pen.write(&format!("{rows},\n  \"next_page_token\": {token}\n}}"))
            }
            Form::Query(query, rows) => {
                let rows = rows.join(",");
                let list = T::LIST;
                self.pen.answer(query, &format!("{{{list:?}:[{rows}],\"next_page_token\":{token}}}"))
            }
            Form::Table(_) | Form::Lines | Form::Csv(_) | Form::QueryEach(_) => Ok(()),
        }
    }

    fn add_to_table(&mut self, rows: &[T]) -> Result<(), Failure> {
        let Self { pen, form: Form::Table(layout), fields, .. } = self else { return Ok(()) };
        let times = pen.times();
        let (places, cells) =
            if fields.is_empty() { plain_cells(rows, pen) } else { selected_cells(rows, fields, &times)? };
        let texts: Vec<Vec<_>> =
            cells.iter().map(|row| row.iter().map(|cell| cell.short(&times)).collect()).collect();
        let mut text = String::new();
        let layout = match layout {
            Some(layout) => layout,
            None => {
                let fitted = layout.insert(Layout::new(places, &texts, pen.width));
                text.push_str(&fitted.headings(pen.heading_style()));
                text.push('\n');
                fitted
            }
        };
        let mut ends = Vec::with_capacity(texts.len());
        for (texts, cells) in texts.iter().zip(&cells) {
            text.push_str(&layout.row(texts, cells, pen.has_color));
            text.push('\n');
            ends.push(text.len());
        }
        pen.write_rows(&text, &ends)
    }
}

/// Returns the columns for the reader, and the cells of the rows.
fn plain_cells<T: Shown>(rows: &[T], pen: &Pen) -> (Vec<Place>, Vec<Vec<Cell>>) {
    let columns = T::COLUMNS.iter().enumerate().filter(|(_, column)| column.is_for(pen.look.program));
    let places = columns.map(|(at, column)| Place::of(at, column)).collect();
    (places, rows.iter().map(Shown::cells).collect())
}

/// Returns a column for each selected field, and the cells of the rows.
fn selected_cells<T: Shown>(
    rows: &[T],
    fields: &[Selected],
    times: &Times,
) -> Result<(Vec<Place>, Vec<Vec<Cell>>), Failure> {
    let values = rows.iter().map(value).collect::<Result<Vec<_>, _>>()?;
    let place = |(at, field): (usize, &Selected)| Place::selected(at, field.name(), field.is_number(&values));
    let places = fields.iter().enumerate().map(place).collect();
    let cells = |row| fields.iter().map(|field| Cell::from(field.text(row, times))).collect();
    Ok((places, values.iter().map(cells).collect()))
}

fn head<T: Shown>() -> String {
    format!("{{\n  {:?}: [\n", T::LIST)
}

/// Returns rows as CSV, each field in a column of its own. Types without fields have the columns of their table.
fn csv<T: Shown>(rows: &[T], selected: &[Selected], with_headings: bool) -> Result<String, Failure> {
    let failed = |error: csv::Error| Failure::io("write CSV", error.into());
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    if with_headings {
        let headings: Vec<String> = match (selected, T::FIELDS) {
            ([], []) => T::COLUMNS.iter().map(|column| column.heading().to_lowercase()).collect(),
            ([], fields) => fields.iter().flat_map(DataField::headings).collect(),
            (selected, _) => selected.iter().flat_map(Selected::headings).collect(),
        };
        writer.write_record(headings).map_err(failed)?;
    }
    for row in rows {
        let cells: Vec<String> = match (selected, T::FIELDS) {
            ([], []) => row.cells().iter().map(Cell::data).collect(),
            ([], fields) => {
                let row = value(row)?;
                fields.iter().flat_map(|field| field.cells(&row)).collect()
            }
            (selected, _) => {
                let row = value(row)?;
                selected.iter().flat_map(|field| field.cells(&row)).collect()
            }
        };
        writer.write_record(cells.iter().map(|cell| neutral(cell).into_owned())).map_err(failed)?;
    }
    let bytes = writer.into_inner().map_err(|error| Failure::io("write CSV", error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
