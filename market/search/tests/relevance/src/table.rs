//! Reading the tab-separated files of the set.

use anyhow::{Context as _, ensure};
use csv::{ReaderBuilder, StringRecord};

/// Returns the rows of a file whose header must name exactly `columns`. Quotation marks have no meaning; `\u{…}` in a field
/// stands for the character of that code, so that invisible characters can be seen.
pub(crate) fn rows(text: &str, columns: &[&str], delimiter: u8) -> anyhow::Result<Vec<Vec<String>>> {
    let mut reader = ReaderBuilder::new().delimiter(delimiter).quoting(false).from_reader(text.as_bytes());
    ensure!(
        reader.headers()? == &StringRecord::from(columns.to_vec()),
        "the columns are {:?}; write {columns:?}",
        reader.headers()?
    );
    let mut rows = Vec::new();
    for (number, record) in reader.records().enumerate() {
        let row: anyhow::Result<Vec<String>> = record?.iter().map(unescaped).collect();
        rows.push(row.with_context(|| format!("row {}", number + 1))?);
    }
    Ok(rows)
}

fn unescaped(field: &str) -> anyhow::Result<String> {
    let mut parts = field.split("\\u{");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_once('}').context("\\u{ without }")?;
        let code =
            u32::from_str_radix(code, 16).with_context(|| format!("\\u{{{code}}} is not hexadecimal"))?;
        text.push(char::from_u32(code).with_context(|| format!("{code:x} is no character"))?);
        text.push_str(rest);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_literal_except_for_escapes() {
        let text = "a\tb\n\"7 inch\" nail\tsoft\\u{ad}hyphen\n";
        assert_eq!(rows(text, &["a", "b"], b'\t').unwrap(), [["\"7 inch\" nail", "soft\u{ad}hyphen"]]);
        assert!(rows(text, &["a"], b'\t').is_err());
        assert!(rows("a\n\\u{ad\n", &["a"], b'\t').is_err());
        assert!(rows("a\n\\u{d800}\n", &["a"], b'\t').is_err());
    }
}
