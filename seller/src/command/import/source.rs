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
use souk_proto::v1::ImportRow;

use super::{
    dialect::{Dialect, DialectFlags, Format, SAMPLE_BYTES},
    fields::Field,
    from::{Export, ShopRows},
    headings::{Columns, Layout},
    json::Object,
    lines::Lines,
    records::Records,
    rows::{Reader, Refused, Row},
};

/// The maximum number of unknown keys that are reported.
const MAX_UNKNOWN_KEYS: usize = 20;
/// The keys that `items --output ndjson` writes in addition to the fields of an import. They are not reported as unknown.
const OF_LISTS: [&str; 7] =
    ["create_time", "rating", "seller_id", "seller_name", "unit_price", "update_time", "version"];

/// What to read, and how.
#[derive(Clone, Debug)]
pub(super) struct Input {
    /// The file, or `-` for standard input.
    pub(super) file: PathBuf,
    pub(super) dialect: DialectFlags,
    pub(super) columns: Columns,
    /// The shop that has written the file, if its columns are not those of [`Columns`].
    pub(super) export: Option<Export>,
}

/// The bytes of a file in UTF-8, or those of a file that is not valid UTF-8.
type Decoded = DecodeReaderBytes<Box<dyn Read + Send>, Vec<u8>>;

/// The line of a record, and its item, unless it is none.
type Record = (i64, Result<Option<ImportRow>, Refused>);

/// The rows of a file, read on demand.
pub(super) struct Source {
    file: PathBuf,
    dialect: Dialect,
    reader: Reader,
    rows: Rows,
    /// How to read the rows of another shop.
    shop: Option<ShopRows>,
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
        let mut shop = self.export.map(ShopRows::new);
        let is_heading = |cell: &str| match &shop {
            Some(shop) => shop.is_heading(cell),
            None => self.columns.is_heading(cell),
        };
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
                Format::Csv => self.csv(text, &dialect, shop.as_mut())?,
                Format::Ndjson => Rows::Ndjson { lines: Box::new(Lines::new(text)), text: Vec::new() },
            },
            shop,
            dialect,
            position,
            unknown: HashSet::new(),
            warnings: Vec::new(),
        };
        source.warn();
        Ok(source)
    }

    /// Reads the heading of a CSV file.
    fn csv(&self, text: Decoded, dialect: &Dialect, shop: Option<&mut ShopRows>) -> Result<Rows, Failure> {
        let failed = |error| failed(&self.file, error);
        let mut records = Box::new(Records::new(text, dialect.delimiter));
        if dialect.has_separator_line {
            records.next().map_err(failed)?;
        }
        let layout = match records.next().map_err(failed)? {
            Some(Ok(header)) => match shop {
                Some(shop) => {
                    let layout = Layout::of_shop(header);
                    shop.locate(layout.headings())?;
                    layout
                }
                None => self.columns.locate(header)?,
            },
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
    /// Returns the path of the file, or `-` for standard input.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

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

    /// Returns the converter of the rows, if the file is from another shop.
    pub(super) fn shop(&self) -> Option<&ShopRows> {
        self.shop.as_ref()
    }

    /// Returns the next row; `None` at the end. Rows of another shop that are no items are left out.
    pub(super) fn next(&mut self) -> Result<Option<Row>, Failure> {
        while let Some((line, item)) = self.next_record()? {
            self.shop.as_ref().map_or(Ok(()), ShopRows::check)?;
            if let Some(item) = item.transpose() {
                return Ok(Some(Row { line, item }));
            }
        }
        Ok(None)
    }

    /// Returns the next record; `None` at the end.
    fn next_record(&mut self) -> Result<Option<Record>, Failure> {
        let failed = |error| failed(&self.file, error);
        let (reader, shop) = (&self.reader, self.shop.as_mut());
        Ok(Some(match &mut self.rows {
            Rows::Csv { records, layout } => match (records.next().map_err(failed)?, shop) {
                (None, _) => return Ok(None),
                (Some(Ok(record)), None) => (record.line(), reader.read(record, layout).map(Some)),
                (Some(Ok(record)), Some(shop)) => (record.line(), reader.read_of_shop(record, layout, shop)),
                (Some(Err((line, fault))), _) => (line, Err(Refused::from(fault.to_string()))),
            },
            Rows::Ndjson { lines, text } => {
                let line = loop {
                    text.clear();
                    let Some(line) = lines.next(text).map_err(failed)? else { return Ok(None) };
                    if !text.trim_ascii().is_empty() {
                        break line;
                    }
                };
                if let Some(shop) = shop {
                    return Ok(Some((line, reader.read_json_of_shop(line, text, shop))));
                }
                let object = reader.decoded(text).and_then(Object::parse);
                if let Ok(object) = &object {
                    report(object, &reader.columns, &mut self.unknown, &mut self.warnings);
                }
                let item = object.map_err(Refused::from).and_then(|object| reader.read_json(line, &object));
                (line, item.map(Some))
            }
        }))
    }

    /// Warns about what the beginning of the file shows.
    fn warn(&mut self) {
        if self.dialect.is_guess {
            let encoding = self.dialect.encoding.name();
            self.warnings.push(format!(
                "the file does not say its encoding, which is probably {encoding}; if --preview shows wrong letters, pass --encoding"
            ));
        }
        // Of another shop's columns, most are not used.
        if let (Rows::Csv { layout, .. }, None) = (&self.rows, &self.shop) {
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
