//! Lines that fit the terminal.

/// The maximum width of the column of names.
const NAMES: usize = 26;
/// The width without a terminal, and the least that is used.
const WIDTH: usize = 80;
const WIDTH_MIN: usize = 40;

/// Returns the width of the terminal.
pub(super) fn width() -> usize {
    let columns = terminal_size::terminal_size().map_or(WIDTH, |(columns, _)| usize::from(columns.0));
    columns.max(WIDTH_MIN)
}

/// Returns two columns, each row on one line.
pub(super) fn table(rows: &[(String, String)], width: usize) -> Vec<String> {
    let names = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(NAMES);
    rows.iter().map(|(name, about)| cut(&format!("  {name:names$}  {about}"), width)).collect()
}

/// Cuts a line at the last word that fits.
pub(super) fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.trim_end().to_owned();
    }
    let fitting: String = line.chars().take(width - 1).collect();
    let whole = fitting.rfind(' ').map_or(fitting.as_str(), |end| &fitting[..end]);
    format!("{}…", whole.trim_end())
}

/// Breaks a text into lines.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    crate::table::wrapped(text, width, usize::MAX)
}
