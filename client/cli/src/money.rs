//! Parses and formats money as people write it: exactly, without floating-point numbers.

use iso_currency::Currency;
use souk_proto::v1;

use crate::Failure;

/// Parses `12.50 GBP`, `12.50GBP`, `GBP 12.50`, or `12.50` in the default currency.
///
/// # Errors
/// The text is not an amount, has more decimals than the currency, or names an unknown currency.
pub fn parse_money(text: &str, default_currency: Option<&str>) -> Result<v1::Money, Failure> {
    let text = text.trim();
    let (digits, code) = split(text);
    // A word would otherwise be reported as an unknown currency.
    if !digits.contains(|c: char| c.is_ascii_digit()) {
        return Err(wrong(text, "is no amount", "write it like \"12.50 GBP\""));
    }
    let code = match (code.is_empty(), default_currency) {
        (false, _) => code.to_ascii_uppercase(),
        (true, Some(code)) => code.to_ascii_uppercase(),
        (true, None) => {
            return Err(wrong(
                text,
                "has no currency",
                "write it like \"12.50 GBP\", or pass --currency GBP",
            ));
        }
    };
    let currency = Currency::from_code(&code).ok_or_else(|| {
        wrong(text, "has an unknown currency", "use a code of ISO 4217, such as GBP or EUR")
    })?;
    if digits.contains(',') {
        return Err(wrong(text, "has a comma", "write the decimals after a point, like 12.50"));
    }
    let decimals = usize::from(currency.exponent().unwrap_or(0));
    let amount_minor = parse_decimal(digits, decimals).ok_or_else(|| {
        wrong(text, "is no amount", &format!("write digits with at most {decimals} decimals for {code}"))
    })?;
    Ok(v1::Money { amount_minor, currency_code: code })
}

/// Formats an amount with the number of decimals of its currency.
pub fn format_money(money: Option<&v1::Money>) -> String {
    let Some(money) = money else { return "-".to_owned() };
    format_parts(money.amount_minor, &money.currency_code)
}

/// Formats an amount without its currency, for a column of its own.
pub fn format_amount(money: Option<&v1::Money>) -> String {
    money.map(|money| decimal(money.amount_minor, &money.currency_code)).unwrap_or_default()
}

/// Formats an amount that is given as minor units and currency.
pub(super) fn format_parts(amount_minor: i64, code: &str) -> String {
    format!("{} {}", decimal(amount_minor, code), super::plain(code))
}

/// Formats an amount without its currency.
pub(super) fn decimal(amount_minor: i64, code: &str) -> String {
    let decimals = Currency::from_code(code).and_then(|currency| currency.exponent());
    let decimals = usize::from(decimals.unwrap_or(0));
    let sign = if amount_minor < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", amount_minor.unsigned_abs(), width = decimals + 1);
    let (whole, part) = digits.split_at(digits.len() - decimals);
    let point = if decimals == 0 { "" } else { "." };
    format!("{sign}{whole}{point}{part}")
}

/// Splits the text into amount and currency, in either order.
fn split(text: &str) -> (&str, &str) {
    let letters_first = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let boundary = text.find(|c: char| c.is_ascii_alphabetic() != letters_first).unwrap_or(text.len());
    let (first, second) = text.split_at(boundary);
    let (first, second) = (first.trim(), second.trim());
    if letters_first { (second, first) } else { (first, second) }
}

/// Parses a number with at most `decimals` decimals, exactly. Returns it in units of the last decimal place: `12.5` with
/// two decimals is 1250. Returns `None` if the text is not such a number.
pub fn parse_decimal(digits: &str, decimals: usize) -> Option<i64> {
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let numeric = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let is_amount = !whole.is_empty() && numeric(whole) && numeric(part) && part.len() <= decimals;
    if !is_amount || digits.ends_with('.') {
        return None;
    }
    format!("{whole}{part:0<decimals$}").parse().ok()
}

fn wrong(text: &str, problem: &str, hint: &str) -> Failure {
    Failure::usage(format!("the amount {text:?} {problem}"), hint)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<(i64, String)> {
        parse_money(text, Some("EUR")).ok().map(|money| (money.amount_minor, money.currency_code))
    }

    #[test]
    fn amounts_are_read_exactly() {
        for (text, amount, code) in [
            ("12.50 GBP", 1_250, "GBP"),
            ("12.5GBP", 1_250, "GBP"),
            ("GBP 12.50", 1_250, "GBP"),
            ("gbp12", 1_200, "GBP"),
            ("0.07", 7, "EUR"),
            ("1200 JPY", 1_200, "JPY"),
            ("1.234 KWD", 1_234, "KWD"),
        ] {
            assert_eq!(read(text), Some((amount, code.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in [
            "",
            "GBP",
            "12,5",
            "12.505 GBP",
            "1.5 JPY",
            "-1",
            "1e3",
            "12.",
            ".5",
            "1 2",
            "12 XQZ",
            "99999999999999999999",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(parse_money("12.50", None).is_err());
        for word in ["x", "bad", "GBP", ""] {
            assert!(parse_money(word, None).unwrap_err().to_string().contains("is no amount"), "{word}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(amount_minor in 0..i64::MAX, code in prop::sample::select(vec!["GBP", "JPY", "KWD"])) {
            let money = v1::Money { amount_minor, currency_code: code.into() };
            prop_assert_eq!(parse_money(&format_money(Some(&money)), None).unwrap(), money);
        }
    }
}
