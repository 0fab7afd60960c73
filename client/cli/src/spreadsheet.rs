//! Cells of CSV files that spreadsheets would take for formulas.
//!
//! A spreadsheet runs a cell that begins with `=`, `+`, `-`, `@`, a tab or a line break as a formula, which may load a page
//! or start a program (OWASP, "CSV Injection"). A leading apostrophe makes it text.

use std::borrow::Cow;

/// Returns a cell that is safe to open in a spreadsheet: with a leading apostrophe if it would be taken for a formula. Numbers
/// and amounts of money, which may be negative, stay as they are.
///
/// [`original`] undoes it for every cell, because a formula that already has leading apostrophes gets one more.
pub fn neutral(cell: &str) -> Cow<'_, str> {
    if is_formula(cell.trim_start_matches('\'')) {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

/// Returns the cell to which [`neutral`] has added an apostrophe, or the cell itself.
pub fn original(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(rest) if is_formula(rest.trim_start_matches('\'')) => rest,
        _ => cell,
    }
}

fn is_formula(cell: &str) -> bool {
    // In the East Asian locales, also the full-width forms.
    let begins = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    begins && !is_amount(cell)
}

/// Returns whether a cell is a number, or an amount with a currency.
fn is_amount(cell: &str) -> bool {
    let is_currency = |text: &str| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    let number = match cell.split_once(' ') {
        Some((number, currency)) if is_currency(currency) => number,
        Some(_) => return false,
        None => cell,
    };
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match digits.split_once('.') {
        Some((whole, part)) => is_number(whole) && is_number(part),
        None => is_number(digits),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formulas_become_texts() {
        for cell in [
            "=cmd|' /C calc'!A0",
            "@SUM(1+1)*cmd",
            "+CALC",
            "-2+3",
            "-1+1",
            "\t=1",
            "\r=1",
            "-",
            "-1.",
            "-1 gbp",
            "＝1",
        ] {
            assert_eq!(neutral(cell), format!("'{cell}"));
        }
    }

    #[test]
    fn numbers_and_texts_stay() {
        for cell in ["-5", "+5", "-12.50 GBP", "-0.001", "Lamp", "", "a=b", "'tis", "12"] {
            assert_eq!(neutral(cell), cell);
            assert_eq!(original(cell), cell);
        }
    }

    proptest! {
        #[test]
        fn every_cell_comes_back(cell in "['=+@a1 -]{0,6}") {
            let neutral = neutral(&cell);
            prop_assert_eq!(original(&neutral), cell.as_str());
        }

        #[test]
        fn no_cell_begins_as_a_formula(cell in "['=+@a1\t\r-]{0,6}") {
            prop_assert!(!is_formula(&neutral(&cell)));
        }
    }
}
