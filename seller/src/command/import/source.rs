//! Reads a file of items row by row, in bounded memory.

use std::{
    cell::Cell,
    fs::File,
    io::{self, BufRead as _, BufReader, Read},
    path::Path,
    rc::Rc,
};

use souk_cli::Failure;
use souk_proto::v1::ImportRow;

use super::{Format, record::Columns};

/// The maximum length of a row, in bytes. A longer one is usually caused by a missing quotation mark, and
/// would use memory without bound.
const MAX_ROW_BYTES: u64 = 256 * 1024;

/// A row, or its line number with what is wrong with it.
pub(super) type Row = Result<ImportRow, (i64, String)>;

/// The rows of a file, read on demand.
pub(super) struct Source {
    rows: Rows,
    columns: Columns,
    read: Rc<Meter>,
}

enum Rows {
    Csv { reader: csv::Reader<Metered>, record: csv::ByteRecord },
    Ndjson { reader: BufReader<Metered>, line: i64, text: Vec<u8> },
}

/// The number of bytes read, in total and since the last row.
#[derive(Default)]
struct Meter {
    all: Cell<u64>,
    row: Cell<u64>,
}

/// A reader that fails if a row exceeds [`MAX_ROW_BYTES`].
struct Metered {
    file: Box<dyn Read>,
    meter: Rc<Meter>,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.meter.row.get() > MAX_ROW_BYTES {
            let problem = "a row is longer than 256 KiB; is a quotation mark or a line break missing?";
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        let count = self.file.read(buffer)?;
        self.meter.all.set(self.meter.all.get() + count as u64);
        self.meter.row.set(self.meter.row.get() + count as u64);
        Ok(count)
    }
}

impl Source {
    pub(super) fn open(path: &Path, format: Format, mut columns: Columns) -> Result<Self, Failure> {
        let read = Rc::new(Meter::default());
        let file: Box<dyn Read> = if path == Path::new("-") {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(path).map_err(|error| failed(path, error))?)
        };
        let file = Metered { file, meter: Rc::clone(&read) };
        let rows = match format {
            Format::Csv => {
                let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
                let header = reader.byte_headers().map_err(|error| failed(path, error.into()))?;
                columns.locate(header)?;
                Rows::Csv { reader, record: csv::ByteRecord::new() }
            }
            Format::Ndjson => Rows::Ndjson { reader: BufReader::new(file), line: 0, text: Vec::new() },
        };
        Ok(Self { rows, columns, read })
    }

    /// Returns the number of bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.read.all.get()
    }

    /// Returns the next row; `None` at the end.
    pub(super) fn next(&mut self, path: &Path) -> Result<Option<Row>, Failure> {
        self.read.row.set(0);
        let row = match &mut self.rows {
            Rows::Csv { reader, record } => {
                if !reader.read_byte_record(record).map_err(|error| failed(path, error.into()))? {
                    return Ok(None);
                }
                let line = record.position().map_or(0, csv::Position::line);
                let line = i64::try_from(line).unwrap_or(i64::MAX);
                self.columns.read(line, record).map_err(|problem| (line, problem))
            }
            Rows::Ndjson { reader, line, text } => loop {
                text.clear();
                let count = reader.read_until(b'\n', text).map_err(|error| failed(path, error))?;
                if count == 0 {
                    return Ok(None);
                }
                *line += 1;
                if !text.trim_ascii().is_empty() {
                    break self
                        .columns
                        .read_json(*line, text.trim_ascii())
                        .map_err(|problem| (*line, problem));
                }
            },
        };
        Ok(Some(row))
    }
}

fn failed(path: &Path, error: io::Error) -> Failure {
    let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    Failure::io(format!("read {name}"), error)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn rows(name: &str, text: &[u8]) -> Result<Vec<Row>, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let columns = Columns::new(&[], &[], Some("GBP"))?;
        let mut source = Source::open(&path, Format::of(None, &path), columns)?;
        let mut rows = Vec::new();
        while let Some(row) = source.next(&path)? {
            rows.push(row);
        }
        assert_eq!(source.position(), text.len() as u64);
        Ok(rows)
    }

    #[test]
    fn lines_are_those_of_the_file_even_when_a_text_has_line_breaks() {
        let text = b"sku,name,description,category,price,quantity\n1,Lamp,\"two\nlines\",home,1,1\n2,Chair,,home,x,1\n";
        let rows = rows("items.csv", text).unwrap();
        assert_eq!(rows[0].as_ref().unwrap().line, 2);
        assert_eq!(rows[1].as_ref().unwrap_err().0, 4);
        assert_eq!(rows.len(), 2);
    }

    #[test]
    fn a_row_that_does_not_end_is_given_up() {
        let mut text = b"sku,name,category,price,quantity\n1,\"Lamp,home,1,1\n".to_vec();
        text.extend(vec![b'x'; 1_000_000]);
        let failure = rows("items.csv", &text).unwrap_err();
        assert!(failure.to_string().contains("quotation mark"), "{failure}");
        let failure = rows("items.ndjson", &vec![b'x'; 1_000_000]).unwrap_err();
        assert!(failure.to_string().contains("256 KiB"), "{failure}");
    }

    #[test]
    fn blank_lines_of_json_are_passed_over_but_counted() {
        let line = r#"{"sku":"1","name":"Lamp","category":"home","price":"1 GBP","quantity":1}"#;
        let rows = rows("items.ndjson", format!("\n{line}\n\nnonsense\n").as_bytes()).unwrap();
        assert_eq!((rows[0].as_ref().unwrap().line, rows[1].as_ref().unwrap_err().0), (2, 4));
    }
}
