//! Reads a file of items row by row, in bounded memory.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Cursor, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use encoding_rs::UTF_8;
use encoding_rs_io::{DecodeReaderBytes, DecodeReaderBytesBuilder};
use souk_cli::Failure;

use super::{
    dialect::{Dialect, DialectFlags, Format, SAMPLE_BYTES},
    fields::Field,
    headings::{Columns, Layout},
    json::Object,
    lines::Lines,
    records::Records,
    rows::{Reader, Refused, Row},
};

/// The maximum number of unknown keys that are reported.
const MAX_UNKNOWN_KEYS: usize = 20;
/// What `items --output ndjson` writes about an item beside the fields of an import. Nobody has misspelt it.
const OF_LISTS: [&str; 7] =
    ["create_time", "rating", "seller_id", "seller_name", "unit_price", "update_time", "version"];

/// What to read, and how.
#[derive(Clone, Debug)]
pub(super) struct Input {
    /// The file, or `-` for standard input.
    pub(super) file: PathBuf,
    pub(super) dialect: DialectFlags,
    pub(super) columns: Columns,
}

/// The bytes of a file in UTF-8, or those of a file that is not valid UTF-8.
type Decoded = DecodeReaderBytes<Box<dyn Read + Send>, Vec<u8>>;

/// The rows of a file, read on demand.
pub(super) struct Source {
    file: PathBuf,
    dialect: Dialect,
    reader: Reader,
    rows: Rows,
    number: i64,
    position: Arc<AtomicU64>,
    /// The keys that were reported as unknown.
    unknown: HashSet<String>,
    warnings: Vec<String>,
}

enum Rows {
    Csv { records: Box<Records<Decoded>>, layout: Layout },
    Ndjson { lines: Box<Lines<Decoded>>, text: Vec<u8> },
}

/// A reader that counts the bytes of the file.
struct Metered<R> {
    file: R,
    position: Arc<AtomicU64>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.position.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Input {
    /// Opens the file, detects its dialect, and finds the columns of a CSV file.
    pub(super) fn open(&self) -> Result<Source, Failure> {
        let failed = |error| failed(&self.file, error);
        let file: Box<dyn Read + Send> = if self.file.as_os_str() == "-" {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(&self.file).map_err(failed)?)
        };
        let position = Arc::new(AtomicU64::new(0));
        let mut file = Metered { file, position: Arc::clone(&position) };
        let mut sample = Vec::new();
        file.by_ref().take(SAMPLE_BYTES as u64).read_to_end(&mut sample).map_err(failed)?;
        let is_heading = |cell: &str| self.columns.is_heading(cell);
        let dialect = Dialect::detect(&self.file, &sample, &self.dialect, is_heading);
        let text = decoded(Box::new(Cursor::new(sample).chain(file)), &dialect);
        let mut source = Source {
            file: self.file.clone(),
            reader: Reader {
                columns: self.columns.clone(),
                numbers: dialect.numbers,
                is_decoded: dialect.encoding != UTF_8,
            },
            rows: match dialect.format {
                Format::Csv => self.csv(text, &dialect)?,
                Format::Ndjson => Rows::Ndjson { lines: Box::new(Lines::new(text)), text: Vec::new() },
            },
            dialect,
            number: 0,
            position,
            unknown: HashSet::new(),
            warnings: Vec::new(),
        };
        source.warn();
        Ok(source)
    }

    /// Reads the heading of a CSV file.
    fn csv(&self, text: Decoded, dialect: &Dialect) -> Result<Rows, Failure> {
        let failed = |error| failed(&self.file, error);
        let mut records = Box::new(Records::new(text, dialect.delimiter));
        if dialect.has_separator_line {
            records.next().map_err(failed)?;
        }
        let layout = match records.next().map_err(failed)? {
            Some(Ok(header)) => self.columns.locate(header)?,
            Some(Err((line, fault))) => {
                let problem = format!("line {line} should name the columns, but it {fault}");
                return Err(Failure::usage(problem, "correct the line, and import the file again"));
            }
            None => {
                let hint = "name the columns in the first line, such as sku,name,category,price,quantity";
                return Err(Failure::usage("the file is empty", hint));
            }
        };
        Ok(Rows::Csv { records, layout })
    }
}

fn decoded(file: Box<dyn Read + Send>, dialect: &Dialect) -> Decoded {
    // What should be UTF-8 is not replaced where it isn't, so that such a row is refused.
    let encoding = Some(dialect.encoding).filter(|encoding| *encoding != UTF_8);
    DecodeReaderBytesBuilder::new().encoding(encoding).bom_sniffing(false).strip_bom(true).build(file)
}

impl Source {
    /// Returns what the file is written in.
    pub(super) fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// Returns the number of bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Takes the warnings about the file since the last call, such as headings that are not used.
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Returns the next row; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Row>, Failure> {
        let failed = |error| failed(&self.file, error);
        let (line, item) = match &mut self.rows {
            Rows::Csv { records, layout } => match records.next().map_err(failed)? {
                None => return Ok(None),
                Some(Ok(record)) => (record.line(), self.reader.read(record, layout)),
                Some(Err((line, fault))) => (line, Err(Refused::from(fault.to_string()))),
            },
            Rows::Ndjson { lines, text } => {
                let line = loop {
                    text.clear();
                    let Some(line) = lines.next(text).map_err(failed)? else { return Ok(None) };
                    if !text.trim_ascii().is_empty() {
                        break line;
                    }
                };
                let object = self.reader.decoded(text).and_then(Object::parse);
                if let Ok(object) = &object {
                    report(object, &self.reader.columns, &mut self.unknown, &mut self.warnings);
                }
                (line, object.map_err(Refused::from).and_then(|object| self.reader.read_json(line, &object)))
            }
        };
        self.number += 1;
        Ok(Some(Row { number: self.number, line, item }))
    }

    /// Warns about what the beginning of the file shows.
    fn warn(&mut self) {
        if self.dialect.is_guess {
            let encoding = self.dialect.encoding.name();
            self.warnings.push(format!(
                "the file does not say its encoding, which is probably {encoding}; if --preview shows wrong letters, pass --encoding"
            ));
        }
        if let Rows::Csv { layout, .. } = &self.rows {
            let unused = layout.unused().map(|heading| {
                let problem = self.reader.columns.unused(heading, |field| layout.has(field));
                format!("the column {problem}")
            });
            self.warnings.extend(unused);
        }
    }
}

/// Warns about keys that no field is read from, once each.
fn report(object: &Object, columns: &Columns, known: &mut HashSet<String>, warnings: &mut Vec<String>) {
    let is_used = |key: &str| columns.is_heading(key) || OF_LISTS.contains(&key);
    for key in object.keys().filter(|key| !is_used(key)) {
        if known.len() < MAX_UNKNOWN_KEYS && known.insert(key.to_owned()) {
            let is_found = |field: Field| object.get(columns.heading(field)).is_some();
            warnings.push(format!("the key {}", columns.unused(key, is_found)));
        }
    }
}

/// Returns an error of reading the file.
fn failed(file: &Path, error: io::Error) -> Failure {
    let name = if file.as_os_str() == "-" { "standard input".to_owned() } else { file.display().to_string() };
    Failure::io(format!("read {name}"), error)
}
