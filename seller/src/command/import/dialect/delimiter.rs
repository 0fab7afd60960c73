//! Detects what separates the cells of a CSV file.

/// What separates cells, the most usual first. Spreadsheets write semicolons where the decimal mark is a comma.
const USUAL: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Parses the value of --delimiter.
pub(super) fn parse(text: &str) -> Result<u8, String> {
    match text.to_ascii_lowercase().as_str() {
        "comma" => Ok(b','),
        "semicolon" => Ok(b';'),
        "tab" | "\\t" => Ok(b'\t'),
        "pipe" => Ok(b'|'),
        other => character(other).ok_or_else(|| {
            "give comma, semicolon, tab, pipe, or one character that is not in texts".to_owned()
        }),
    }
}

/// Returns the one character of a text, if it can separate cells.
fn character(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] if byte.is_ascii_punctuation() && !matches!(*byte, b'"' | b'\'' | b'.' | b'-' | b'_') => {
            Some(*byte)
        }
        [byte @ (b'\t' | 0x1e | 0x1f)] => Some(*byte),
        _ => None,
    }
}

/// Returns what a delimiter is called.
pub(super) fn name(delimiter: u8) -> String {
    match delimiter {
        b',' => "commas".to_owned(),
        b';' => "semicolons".to_owned(),
        b'\t' => "tabs".to_owned(),
        b'|' => "pipes".to_owned(),
        other => format!("{:?}", char::from(other)),
    }
}

/// The line with the headings, and what a line before it says about the delimiter.
pub(super) struct Heading<'a> {
    line: &'a str,
    /// The delimiter of a first line such as `sep=;`, which Excel reads and writes.
    pub(super) separator: Option<u8>,
}

impl<'a> Heading<'a> {
    /// Finds the heading of a file, whose beginning is `text`.
    pub(super) fn of(text: &'a str) -> Self {
        let mut lines = text.split(['\n', '\r']).filter(|line| !line.trim().is_empty());
        let first = lines.next().unwrap_or_default();
        match separator(first) {
            Some(separator) => Self { line: lines.next().unwrap_or_default(), separator: Some(separator) },
            None => Self { line: first, separator: None },
        }
    }

    /// Returns the delimiter with which most cells are known headings, or else with which there are most cells.
    pub(super) fn likeliest(&self, is_heading: impl Fn(&str) -> bool) -> u8 {
        let score = |delimiter: u8| {
            let cells = self.cells(delimiter);
            (cells.iter().filter(|cell| is_heading(cell)).count(), cells.len())
        };
        // `max_by_key` takes the last of several.
        USUAL.into_iter().rev().max_by_key(|delimiter| score(*delimiter)).unwrap_or(b',')
    }

    fn cells(&self, delimiter: u8) -> Vec<String> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .delimiter(delimiter)
            .from_reader(self.line.as_bytes());
        let record = reader.records().next().and_then(Result::ok).unwrap_or_default();
        record.iter().map(str::to_owned).collect()
    }
}

fn separator(line: &str) -> Option<u8> {
    let line = line.trim_matches(['"', ' ', '\u{feff}']);
    let (key, value) = line.split_at_checked("sep=".len())?;
    key.eq_ignore_ascii_case("sep=").then(|| character(value)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delimiter(text: &str) -> u8 {
        let heading = Heading::of(text);
        let is_heading = |cell: &str| ["sku", "name", "price"].contains(&cell.trim());
        heading.separator.unwrap_or_else(|| heading.likeliest(is_heading))
    }

    #[test]
    fn the_heading_shows_the_delimiter() {
        for (text, expected) in [
            ("sku,name,price\n", b','),
            ("sku;name;price\nA;Lamp, a;1,50", b';'),
            ("\r\n\r\nsku\tname\tprice\r\n", b'\t'),
            ("sku|name|price", b'|'),
            ("\"sku\";\"name\";\"price, with tax, if any\"", b';'),
            ("code;title, long;cost, net, in pounds", b','),
            ("name", b','),
            ("", b','),
        ] {
            assert_eq!(delimiter(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_line_before_the_heading_states_the_delimiter() {
        for (text, expected) in
            [("sep=;\r\nsku,name", b';'), ("SEP=\t\nsku", b'\t'), ("\u{feff}\"sep=|\"\nsku", b'|')]
        {
            assert_eq!(Heading::of(text).separator, Some(expected), "{text:?}");
        }
        for text in ["sep=\nsku", "sep=ab\nsku", "sep,name\n", "sep=\"\n"] {
            assert_eq!(Heading::of(text).separator, None, "{text:?}");
        }
    }

    #[test]
    fn delimiters_have_names() {
        for (text, expected) in [("comma", b','), (";", b';'), ("TAB", b'\t'), ("\\t", b'\t'), ("^", b'^')] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        for text in ["", "ab", "\"", "a", "ü", "1"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
