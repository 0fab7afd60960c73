//! The lines of a text, as an editor counts them.

use std::io::{self, BufRead as _, BufReader, Read};

use memchr::memchr2;

/// The maximum length of a row, in bytes. A longer one is usually caused by a missing quotation mark or line break, and
/// would use memory without bound.
pub(super) const MAX_ROW_BYTES: usize = 256 * 1024;

/// Reads lines that end with LF, CR LF (every file of Excel) or CR (of older programs for the Macintosh).
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    count: i64,
    /// The last line ended with CR, so that an LF which follows belongs to the same line break.
    after_cr: bool,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader: BufReader::new(reader), count: 0, after_cr: false }
    }

    /// Appends the next line to `text`, without its line break, and returns its number, from 1; `None` at the end.
    pub(super) fn next(&mut self, text: &mut Vec<u8>) -> io::Result<Option<i64>> {
        let begin = text.len();
        let mut has_begun = false;
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if std::mem::take(&mut self.after_cr) && buffer.first() == Some(&b'\n') {
                self.reader.consume(1);
                continue;
            }
            if buffer.is_empty() {
                if has_begun {
                    break;
                }
                return Ok(None);
            }
            has_begun = true;
            let end = memchr2(b'\n', b'\r', buffer);
            text.extend_from_slice(&buffer[..end.unwrap_or(buffer.len())]);
            if let Some(end) = end {
                self.after_cr = buffer[end] == b'\r';
                self.reader.consume(end + 1);
                break;
            }
            let length = buffer.len();
            self.reader.consume(length);
            if text.len() - begin > MAX_ROW_BYTES {
                let problem = "a row is longer than 256 KiB; is a quotation mark or a line break missing?";
                return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
            }
        }
        self.count += 1;
        Ok(Some(self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<(i64, String)> {
        let mut lines = Lines::new(text);
        let mut found = Vec::new();
        let mut line = Vec::new();
        while let Some(number) = lines.next(&mut line).unwrap() {
            found.push((number, String::from_utf8(std::mem::take(&mut line)).unwrap()));
        }
        found
    }

    #[test]
    fn every_kind_of_line_break_counts_once() {
        for text in ["a\nb\n\nc", "a\r\nb\r\n\r\nc\r\n", "a\rb\r\rc\r", "a\nb\r\n\rc"] {
            let expected = ["a", "b", "", "c"].map(str::to_owned);
            assert_eq!(lines(text.as_bytes()), (1..).zip(expected).collect::<Vec<_>>(), "{text:?}");
        }
        assert!(lines(b"").is_empty());
    }

    #[test]
    fn a_line_break_may_lie_on_the_border_of_two_reads() {
        let long = "x".repeat(8 * 1024 - 1);
        let found = lines(format!("{long}\r\ny\r\n").as_bytes());
        assert_eq!(found, [(1, long), (2, "y".to_owned())]);
    }
}
