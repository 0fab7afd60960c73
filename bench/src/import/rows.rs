//! Generates a CSV file of items, a few of which are invalid.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
};

use crate::workload::WORDS;

/// Number of invalid rows, each invalid in a different way.
pub(super) const DIRTY: usize = 10;
/// Minimum number of rows, to have room for the invalid ones.
pub(super) const MIN_ROWS: u64 = 100;

const CATEGORIES: [&str; 6] = ["home/light", "home/kitchen", "toys", "garden", "gifts/paper", "office"];

/// Writes a file of `rows` items whose SKUs start with `series`. Returns the line numbers of the invalid rows, in
/// ascending order.
pub(super) fn write(path: &Path, rows: u64, series: &str) -> io::Result<Vec<u64>> {
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "sku,name,description,category,price,currency,quantity")?;
    let every = rows / DIRTY as u64;
    let mut dirty = Vec::with_capacity(DIRTY);
    for row in 0..rows {
        // The middle of each tenth; the header is line 1.
        let is_dirty = row % every == every / 2 && dirty.len() < DIRTY;
        if is_dirty {
            file.write_all(&wrong(dirty.len(), series, row))?;
            dirty.push(row + 2);
        } else {
            good(&mut file, series, row)?;
        }
    }
    file.flush()?;
    Ok(dirty)
}

fn good(file: &mut impl io::Write, series: &str, row: u64) -> io::Result<()> {
    let word = |by: u64| WORDS[usize::try_from(row / by).unwrap_or(0) % WORDS.len()];
    let category = CATEGORIES[usize::try_from(row).unwrap_or(0) % CATEGORIES.len()];
    let (first, second, third) = (word(1), word(7), word(91));
    writeln!(
        file,
        "{series}-{row},{first} {second} {row},\"A {third} {first}, made for {second}\",{category},{}.{:02},GBP,{}",
        1 + row % 90,
        row % 100,
        1 + row % 500,
    )
}

/// Returns an invalid row: one of ten mistakes that people make.
fn wrong(kind: usize, series: &str, row: u64) -> Vec<u8> {
    let text = match kind {
        0 => format!("D-{row},Lamp,,home,\"12,5\",GBP,1\n"),
        1 => format!("D-{row},Lamp,,home,12.50,GBP,many\n"),
        2 => format!("D-{row},,,home,12.50,GBP,1\n"),
        3 => format!("D-{row},Lamp,,Home & Garden,12.50,GBP,1\n"),
        4 => format!("D-{row},Lamp,,home,12.50,GBP,-1\n"),
        5 => format!("D-{row},Lamp,,home,,GBP,1\n"),
        6 => format!("{series}-0,Lamp again,,home,12.50,GBP,1\n"),
        7 => format!("D-{row},Lamp,,home,12.505,GBP,1\n"),
        8 => format!("D-{row},Lamp,,home,12.50,POUND,1\n"),
        // Encoded in Latin-1 instead of UTF-8.
        _ => return [format!("D-{row},Abat-jour fran").as_bytes(), b"\xe7ais,,home,12.50,GBP,1\n"].concat(),
    };
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_of_each_tenth_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("items.csv");
        let dirty = write(&path, 1_000, "G").unwrap();
        assert_eq!(dirty.len(), DIRTY);
        let lines: Vec<_> =
            std::fs::read(&path).unwrap().split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        assert_eq!(lines.len(), 1_002, "a header, the rows, and the end");
        for line in dirty {
            let line = &lines[usize::try_from(line).unwrap() - 1];
            assert!(
                line.starts_with(b"D-") || line.starts_with(b"G-0,"),
                "{}",
                String::from_utf8_lossy(line)
            );
        }
    }
}
