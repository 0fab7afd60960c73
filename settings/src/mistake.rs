//! Errors of settings files.

use std::{fmt, io, ops::Range, path::PathBuf};

/// The maximum number of characters of a line that are shown.
const SHOWN_CHARS: usize = 160;

/// Why a settings file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file can't be read.
    #[error("can't read the settings file {}: {source}; check the path given with --config", path.display())]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// A line of the file is wrong.
    #[error(transparent)]
    Wrong(Box<Mistake>),
}

/// A mistake in a line of a settings file. Its text has several lines: the last two show the line, and point at the
/// mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistake {
    path: PathBuf,
    line: usize,
    /// The columns of the mistake within `text`, in characters.
    columns: Range<usize>,
    text: String,
    problem: String,
}

impl Mistake {
    /// Describes a mistake at these bytes of the file.
    pub(crate) fn new(path: PathBuf, file: &str, at: Range<usize>, problem: String) -> Self {
        let start = file.floor_char_boundary(at.start);
        let begin = file[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let end = file[begin..].find('\n').map_or(file.len(), |length| begin + length);
        let line = file[..begin].matches('\n').count() + 1;
        let stop = file.floor_char_boundary(at.end).clamp(start, end.max(start));
        let first = file[begin..start].chars().count();
        let width = file[start..stop].chars().count().max(1);
        let text = file[begin..end].trim_end_matches('\r');
        // Control characters become blanks, so that the marks below stay in place.
        let text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_CHARS).collect();
        Self { path, line, columns: first..first + width, text, problem }
    }

    /// Returns the number of the line, from 1.
    #[cfg(test)]
    pub(crate) fn line(&self) -> usize {
        self.line
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, columns, text, problem } = self;
        writeln!(f, "the settings file {} is wrong in line {line}: {problem}", path.display())?;
        let number = line.to_string();
        writeln!(f, "  {number} | {text}")?;
        let marks = "^".repeat(columns.len().min(SHOWN_CHARS));
        write!(
            f,
            "  {:width$} | {:before$}{marks}",
            "",
            "",
            width = number.len(),
            before = columns.start.min(SHOWN_CHARS)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(file: &str, at: Range<usize>) -> String {
        Mistake::new("a.toml".into(), file, at, "no".into()).to_string()
    }

    #[test]
    fn the_line_is_shown_with_marks_below_the_mistake() {
        let file = "cert = \"é.pem\"\r\n\tmarkt = 1\nlast";
        let at = file.find("markt").unwrap();
        assert_eq!(
            shown(file, at..at + 5),
            "the settings file a.toml is wrong in line 2: no\n  2 |  markt = 1\n    |  ^^^^^"
        );
        let at = file.find("pem").unwrap();
        assert!(shown(file, at..at + 3).ends_with("  1 | cert = \"é.pem\"\n    |           ^^^"));
    }

    #[test]
    fn mistakes_at_the_edges_of_a_file_are_shown() {
        assert!(shown("", 0..0).ends_with("in line 1: no\n  1 | \n    | ^"));
        assert!(shown("a = ", 4..4).ends_with("  1 | a = \n    |     ^"));
        assert!(shown("a = \"\nb", 4..99).ends_with("  1 | a = \"\n    |     ^"));
        assert!(shown("é", 1..99).ends_with("  1 | é\n    | ^"));
        assert!(shown(&format!("a = {}", "x".repeat(1_000)), 0..1_000).len() < 4 * SHOWN_CHARS);
    }
}
