//! What is to be shown on a screen: the text of rows, of which only those that fit are written.

use std::fmt::Write as _;

use anstream::adapter::strip_str;
use unicode_width::UnicodeWidthStr as _;

/// A text, and where its rows end.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    text: String,
    ends: Vec<usize>,
}

impl Sheet {
    /// Adds a text, with the ends of the rows that it has.
    pub(super) fn add(&mut self, text: &str, ends: &[usize]) {
        self.ends.extend(ends.iter().map(|end| self.text.len() + end));
        self.text.push_str(text);
    }

    /// Returns the rows that fit a terminal, and a last line about the others. A text without rows, such as a card, is cut
    /// by its lines. Without a height, everything fits.
    pub(super) fn clipped(self, width: Option<usize>, height: Option<usize>) -> String {
        let Self { mut text, mut ends } = self;
        // The cursor ends up below the last line.
        let Some(room) = height.map(|height| height.saturating_sub(1)) else { return text };
        let lines = |text: &str| text.lines().map(|line| height_of(line, width)).sum::<usize>();
        if lines(&text) <= room {
            return text;
        }
        let noun = if ends.is_empty() { "line" } else { "row" };
        if ends.is_empty() {
            ends = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        }
        let fits = |end: &&usize| lines(&text[..**end]) < room;
        let shown = ends.iter().take_while(fits).count();
        text.truncate(shown.checked_sub(1).map_or(0, |last| ends[last]));
        let more = ends.len() - shown;
        // Writing to a string can't fail.
        let _ = writeln!(text, "… and {more} more {noun}{}", if more == 1 { "" } else { "s" });
        text
    }
}

/// Returns the number of lines that a line takes on a terminal, which wraps what is wider.
fn height_of(line: &str, width: Option<usize>) -> usize {
    let columns = strip_str(line).to_string().width();
    width.map_or(1, |width| columns.div_ceil(width.max(1)).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: usize) -> Sheet {
        let mut sheet = Sheet::default();
        let (mut text, mut ends) = ("NAME\n".to_owned(), Vec::new());
        for row in 1..=rows {
            text.push_str(&format!("\u{1b}[32mlamp {row}\u{1b}[0m\n     of brass\n"));
            ends.push(text.len());
        }
        sheet.add(&text, &ends);
        sheet
    }

    #[test]
    fn rows_that_do_not_fit_are_counted() {
        // The heading and three rows of two lines each, and the line of the cursor.
        assert_eq!(table(3).clipped(Some(80), Some(8)).lines().count(), 7);
        let clipped = table(3).clipped(Some(80), Some(7));
        assert!(clipped.contains("lamp 2") && clipped.ends_with("\n… and 1 more row\n"), "{clipped}");
        let clipped = table(50).clipped(Some(80), Some(7));
        assert_eq!(clipped.lines().count(), 6);
        assert!(clipped.ends_with("… and 48 more rows\n"), "{clipped}");
        assert_eq!(table(50).clipped(Some(80), Some(1)), "… and 50 more rows\n");
        assert_eq!(table(50).clipped(None, None).lines().count(), 101);
    }

    #[test]
    fn a_text_without_rows_is_cut_by_its_lines_as_the_terminal_wraps_them() {
        let mut card = Sheet::default();
        card.add(&format!("name  {}\nprice\nstock\n", "long ".repeat(9)), &[]);
        // The first line takes three of twenty columns.
        assert_eq!(card.clipped(Some(20), Some(5)).lines().collect::<Vec<_>>().len(), 2);
    }
}
