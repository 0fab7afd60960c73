//! What a file is written in: its format, encoding, delimiter and decimal mark.
//!
//! A spreadsheet writes what its locale prefers, and does not record it in the file. What is not given by a flag is
//! detected from the beginning of the file; the decimal mark is not, because `1,500` may be either number.

mod delimiter;
mod encoding;
mod locale;

use std::path::Path;

use clap::{Args, ValueEnum};
use encoding_rs::Encoding;
use souk_help::LESS_COMMON;

use delimiter::Heading;

/// The maximum number of bytes at the beginning of a file from which its dialect is detected.
pub(super) const SAMPLE_BYTES: usize = 64 * 1024;

/// What a file of items is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Comma-separated values (RFC 4180), with a heading.
    Csv,
    /// A JSON object on each line.
    Ndjson,
}

impl Format {
    /// Returns the format that is given, or else that of the file's name; CSV if neither says it.
    pub(crate) fn of(given: Option<Self>, file: &Path) -> Self {
        given.or_else(|| Self::by_name(file)).unwrap_or(Self::Csv)
    }

    fn by_name(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "csv" | "tsv" | "txt" => Some(Self::Csv),
            _ => None,
        }
    }
}

/// The character before the decimals of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Decimal {
    /// As in 1234.50.
    #[value(alias = ".")]
    Point,
    /// As in 1234,50.
    #[value(alias = ",")]
    Comma,
}

/// How the numbers of a file are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    pub(super) decimal: Decimal,
    /// Whether a flag states it. Otherwise ambiguous numbers are refused.
    pub(super) is_given: bool,
}

/// The flags that state what would otherwise be detected.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct DialectFlags {
    /// What the file is [default: by its name, otherwise by its beginning].
    #[arg(long, help_heading = LESS_COMMON)]
    format: Option<Format>,
    /// What separates the cells of a CSV file: comma, semicolon, tab, pipe or another character [default: detected].
    #[arg(long, help_heading = LESS_COMMON, value_name = "CHARACTER", value_parser = delimiter::parse)]
    delimiter: Option<u8>,
    /// The file's encoding, such as utf-8, utf-16le or windows-1252 [default: detected].
    #[arg(long, help_heading = LESS_COMMON, value_name = "NAME", value_parser = encoding::parse)]
    encoding: Option<&'static Encoding>,
    /// The decimal mark of prices [default: that of --locale, otherwise point].
    #[arg(long, help_heading = LESS_COMMON, value_name = "MARK")]
    decimal: Option<Decimal>,
    /// The locale in which numbers are written, such as de-DE or en-GB.
    #[arg(long, value_name = "LOCALE", value_parser = locale::decimal_of)]
    locale: Option<Decimal>,
}

/// The dialect of a file.
#[derive(Clone, Debug)]
pub(super) struct Dialect {
    pub(super) format: Format,
    pub(super) encoding: &'static Encoding,
    /// Whether the encoding is only the likeliest one.
    pub(super) is_guess: bool,
    pub(super) delimiter: u8,
    /// Whether a line such as `sep=;` comes before the heading.
    pub(super) has_separator_line: bool,
    pub(super) numbers: Numbers,
}

impl Dialect {
    /// Detects what the flags leave open from the beginning of a file. `is_heading` returns whether a cell is the
    /// heading of a column that the import reads.
    pub(super) fn detect(
        file: &Path,
        sample: &[u8],
        flags: &DialectFlags,
        is_heading: impl Fn(&str) -> bool,
    ) -> Self {
        let (guessed, is_guess) = encoding::detect(sample, sample.len() < SAMPLE_BYTES);
        let encoding = flags.encoding.unwrap_or(guessed);
        let (text, _, _) = encoding.decode(sample);
        let by_beginning = || text.trim_start().starts_with(['{', '[']).then_some(Format::Ndjson);
        let format = flags.format.or_else(|| Format::by_name(file)).or_else(by_beginning);
        let heading = Heading::of(&text);
        let delimiter = match (flags.delimiter, heading.separator) {
            (Some(delimiter), _) | (None, Some(delimiter)) => delimiter,
            (None, None) => heading.likeliest(is_heading),
        };
        Self {
            format: format.unwrap_or(Format::Csv),
            encoding,
            is_guess: is_guess && flags.encoding.is_none(),
            delimiter,
            has_separator_line: heading.separator.is_some(),
            numbers: Numbers {
                decimal: flags.decimal.or(flags.locale).unwrap_or(Decimal::Point),
                is_given: flags.decimal.or(flags.locale).is_some(),
            },
        }
    }

    /// Describes the dialect for the summary of an import.
    pub(super) fn describe(&self) -> String {
        let encoding = self.encoding.name();
        let guessed = if self.is_guess { " (guessed)" } else { "" };
        let decimal = match self.numbers.decimal {
            Decimal::Point => "decimal point",
            Decimal::Comma => "decimal comma",
        };
        match self.format {
            Format::Csv => {
                let delimiter = delimiter::name(self.delimiter);
                format!("CSV in {encoding}{guessed}, cells separated by {delimiter}, {decimal}")
            }
            Format::Ndjson => format!("NDJSON in {encoding}{guessed}, {decimal}"),
        }
    }
}
