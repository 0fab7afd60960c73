//! The records of a CSV file (RFC 4180), with strict quotation marks.
//!
//! The csv library accepts any input: an unclosed quotation mark draws the rows that follow into its cell, and their price
//! and stock then belong to the wrong item. So a record is checked before it is split. A record with a fault is refused,
//! and reading goes on with the line after the one on which it began, so that it takes no other row with it.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, Read},
};

use memchr::memchr_iter;

use super::lines::{Lines, MAX_ROW_BYTES};

const QUOTE: u8 = b'"';

/// What is wrong with the quotation marks of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    TextBefore,
    TextAfter,
    Unclosed,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TextBefore => {
                "has text or a space before a quotation mark; put one at the beginning and the end of the cell, and write each between them twice"
            }
            Self::TextAfter => {
                "has text or a space after a closing quotation mark; write each quotation mark within a cell twice"
            }
            Self::Unclosed => "has a quotation mark that is not closed; close it, or write it twice",
        })
    }
}

/// A record: its cells, without quotation marks, and the line on which it begins.
#[derive(Debug, Default)]
pub(super) struct Record {
    line: i64,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Record {
    /// Returns the line on which the record begins.
    pub(super) fn line(&self) -> i64 {
        self.line
    }

    /// Returns the number of cells.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn cell(&self, place: usize) -> Option<&[u8]> {
        let end = *self.ends.get(place)?;
        let begin = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.text[begin..end])
    }

    /// Returns the number of cells up to the last one that is not blank.
    pub(super) fn filled(&self) -> usize {
        (0..self.len()).rev().find(|place| !self.is_blank(*place)).map_or(0, |last| last + 1)
    }

    /// Returns whether a cell has nothing but spaces.
    pub(super) fn is_blank(&self, place: usize) -> bool {
        let cell = self.cell(place).unwrap_or_default();
        std::str::from_utf8(cell).is_ok_and(|text| text.trim().is_empty())
    }
}

/// Reads records whose cells are separated by one byte.
pub(super) struct Records<R> {
    lines: Lines<R>,
    /// Lines that were read as a part of a record with a fault, with their numbers.
    again: VecDeque<(i64, Vec<u8>)>,
    delimiter: u8,
    parser: csv_core::Reader,
    raw: Vec<u8>,
    record: Record,
}

impl<R: Read> Records<R> {
    pub(super) fn new(reader: R, delimiter: u8) -> Self {
        Self {
            lines: Lines::new(reader),
            again: VecDeque::new(),
            delimiter,
            parser: csv_core::ReaderBuilder::new().delimiter(delimiter).build(),
            raw: Vec::new(),
            record: Record::default(),
        }
    }

    /// Returns the next record that is not blank, or the line of one with a fault; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Result<&Record, (i64, Fault)>>> {
        loop {
            self.raw.clear();
            let Some(line) = self.line()? else { return Ok(None) };
            if let Some(fault) = self.complete(line)? {
                return Ok(Some(Err((line, fault))));
            }
            self.split(line);
            if self.record.filled() > 0 {
                return Ok(Some(Ok(&self.record)));
            }
        }
    }

    /// Returns the record that was read last.
    #[cfg(test)]
    pub(super) fn into_record(self) -> Record {
        self.record
    }

    fn line(&mut self) -> io::Result<Option<i64>> {
        match self.again.pop_front() {
            Some((number, text)) => {
                self.raw.extend_from_slice(&text);
                Ok(Some(number))
            }
            None => self.lines.next(&mut self.raw),
        }
    }

    /// Adds further lines until every quotation mark is closed. Line breaks in cells become LF.
    fn complete(&mut self, first: i64) -> io::Result<Option<Fault>> {
        let (mut place, mut checked) = (Place::Begin, 0);
        let mut further_lines = Vec::new();
        let fault = loop {
            match place.after(&self.raw[checked..], self.delimiter) {
                Ok(now) => place = now,
                Err(fault) => break fault,
            }
            if place != Place::Quoted {
                return Ok(None);
            }
            checked = self.raw.len();
            if self.raw.len() > MAX_ROW_BYTES {
                break Fault::Unclosed;
            }
            self.raw.push(b'\n');
            let begin = self.raw.len();
            if self.line()?.is_none() {
                break Fault::Unclosed;
            }
            further_lines.push(begin..self.raw.len());
        };
        let numbered = (first + 1..).zip(further_lines).collect::<Vec<_>>();
        for (number, range) in numbered.into_iter().rev() {
            self.again.push_front((number, self.raw[range].to_vec()));
        }
        Ok(Some(fault))
    }

    fn split(&mut self, line: i64) {
        self.raw.push(b'\n');
        let Record { text, ends, .. } = &mut self.record;
        // Without its quotation marks a record is no longer than with them.
        text.resize(self.raw.len(), 0);
        ends.resize(memchr_iter(self.delimiter, &self.raw).count() + 1, 0);
        let (_, _, length, count) = self.parser.read_record(&self.raw, text, ends);
        text.truncate(length);
        ends.truncate(count);
        self.record.line = line;
    }
}

/// A place in a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the beginning of a cell.
    Begin,
    /// In a cell without quotation marks.
    Bare,
    /// Between quotation marks.
    Quoted,
    /// After a quotation mark that either closes the cell, or is the first of two that stand for one.
    Closed,
}

impl Place {
    /// Returns the place after a part of a record.
    fn after(self, part: &[u8], delimiter: u8) -> Result<Self, Fault> {
        part.iter().try_fold(self, |place, byte| match (place, *byte) {
            (Self::Quoted, QUOTE) => Ok(Self::Closed),
            (Self::Quoted, _) | (Self::Closed | Self::Begin, QUOTE) => Ok(Self::Quoted),
            (_, byte) if byte == delimiter => Ok(Self::Begin),
            (Self::Closed, _) => Err(Fault::TextAfter),
            (Self::Bare, QUOTE) => Err(Fault::TextBefore),
            (Self::Begin | Self::Bare, _) => Ok(Self::Bare),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Found = Vec<(i64, Result<Vec<String>, Fault>)>;

    fn read(text: &str, delimiter: u8) -> Found {
        let mut records = Records::new(text.as_bytes(), delimiter);
        let mut found = Vec::new();
        while let Some(record) = records.next().unwrap() {
            found.push(match record {
                Ok(record) => {
                    let cell = |place| String::from_utf8(record.cell(place).unwrap().to_vec()).unwrap();
                    (record.line(), Ok((0..record.len()).map(cell).collect()))
                }
                Err((line, fault)) => (line, Err(fault)),
            });
        }
        found
    }

    fn good(line: i64, cells: &[&str]) -> (i64, Result<Vec<String>, Fault>) {
        (line, Ok(cells.iter().map(|cell| (*cell).to_owned()).collect()))
    }

    #[test]
    fn cells_may_have_delimiters_marks_and_line_breaks() {
        for line_break in ["\n", "\r\n", "\r"] {
            let text = ["a,\"b,\"\"c\"\"\",", "\"two", "", "lines\",d", "", " , ", "e,f"].join(line_break);
            let expected =
                vec![good(1, &["a", "b,\"c\"", ""]), good(2, &["two\n\nlines", "d"]), good(7, &["e", "f"])];
            assert_eq!(read(&text, b','), expected, "{line_break:?}");
        }
        assert_eq!(read("a;\"b;c\"", b';'), [good(1, &["a", "b;c"])]);
        assert_eq!(read("a\t\"b\tc\"", b'\t'), [good(1, &["a", "b\tc"])]);
    }

    #[test]
    fn a_record_with_a_fault_takes_no_other_with_it() {
        for (text, fault) in [
            ("a,\"b,c\nd,\"e\",f", Fault::TextAfter),
            ("a,\"b,c\nd,e,f", Fault::Unclosed),
            ("a,\"b\"x,c\nd,e,f", Fault::TextAfter),
            ("a,\"b\" ,c\nd,e,f", Fault::TextAfter),
            ("a,12\" pipe,c\nd,e,f", Fault::TextBefore),
            ("a, \"b\",c\nd,e,f", Fault::TextBefore),
            ("a,\"b \\\"c\\\"\",c\nd,e,f", Fault::TextAfter),
        ] {
            assert_eq!(read(text, b','), [(1, Err(fault)), good(2, &["d", "e", "f"])], "{text}");
        }
        let long = format!("a,\"b\n{}c,d\n", "x\n".repeat(MAX_ROW_BYTES));
        let found = read(&long, b',');
        assert_eq!((found.len(), &found[0]), (MAX_ROW_BYTES + 2, &(1, Err(Fault::Unclosed))));
    }

    proptest! {
        #[test]
        fn what_the_csv_library_writes_is_read_back(
            rows in prop::collection::vec(prop::collection::vec("[ab,;\"\n' é]{0,6}", 1..5), 1..5),
            delimiter in prop::sample::select(vec![b',', b';', b'\t']),
        ) {
            let mut writer = csv::WriterBuilder::new()
                .delimiter(delimiter)
                .flexible(true)
                .terminator(csv::Terminator::CRLF)
                .from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let found: Vec<_> = read(&text, delimiter).into_iter().map(|(_, cells)| cells.unwrap()).collect();
            let is_blank = |row: &Vec<String>| row.iter().all(|cell| cell.trim().is_empty());
            let expected: Vec<_> = rows.into_iter().filter(|row| !is_blank(row)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
