//! Reads the values of cells as people and spreadsheets write them, exactly. Ambiguous values are refused.

use iso_currency::Currency;
use souk_proto::v1::Money;

use super::dialect::{Decimal, Numbers};

/// The code of a currency is three letters (ISO 4217).
const CODE_CHARS: usize = 3;

/// Reads a number of units, such as `10`, `10.0` or `1 000`.
pub(super) fn units(text: &str, numbers: Numbers) -> Result<i64, String> {
    let problem = |problem: String| format!("{text:?} {problem}");
    let digits = numbers.digits(text).map_err(problem)?;
    if digits.is_negative {
        return Err(problem("is negative; write 0 or more".to_owned()));
    }
    let decimals = digits.decimals.as_str();
    if decimals.len() == 3 && !numbers.is_given {
        return Err(problem(format!(
            "may be {} or {}{decimals}; write it without the point, or pass --decimal",
            digits.whole, digits.whole
        )));
    }
    if decimals.bytes().any(|digit| digit != b'0') {
        return Err(problem("is no whole number".to_owned()));
    }
    digits.whole.parse().map_err(|_| problem("is too large".to_owned()))
}

/// Reads an amount of money, such as `12.50 GBP`, `€12` or `1.234,56`. `column` is the currency that the row names apart from
/// the amount, `default` that of amounts without any.
pub(super) fn price(
    text: &str,
    column: Option<&str>,
    default: Option<&str>,
    numbers: Numbers,
) -> Result<Money, String> {
    let problem = |problem: &str| format!("{text:?} {problem}");
    let first = text.find(|c: char| c.is_ascii_digit());
    let last = text.rfind(|c: char| c.is_ascii_digit());
    let Some((first, last)) = first.zip(last) else {
        return Err(problem("is no amount; write it like \"12.50 GBP\""));
    };
    let is_sign = |c: char| matches!(c, '-' | '\u{2212}');
    let around = [&text[..first], &text[last + 1..]];
    if around.iter().any(|part| part.contains(is_sign)) {
        return Err(problem("is negative; write 0 or more"));
    }
    let own = match around.map(str::trim) {
        ["", ""] => None,
        [one, ""] | ["", one] => Some(one),
        _ => return Err(problem("has a currency on both sides; write it like \"12.50 GBP\"")),
    };
    let digits = numbers.digits(&text[first..=last]).map_err(|found| problem(&found))?;
    let own = own.map(|own| code(own, column.or(default)).map_err(|found| problem(&found))).transpose()?;
    let column = column.map(|column| code(column, default).map_err(|found| format!("{column:?} {found}")));
    let column = column.transpose()?;
    let currency = match (own, column) {
        (Some(own), Some(column)) if own != column => {
            return Err(problem(&format!("is in {}, but currency says {}", own.code(), column.code())));
        }
        (Some(currency), _) | (None, Some(currency)) => currency,
        (None, None) => {
            let default = default.ok_or_else(|| {
                problem("has no currency; write it like \"12.50 GBP\", or pass --currency GBP")
            })?;
            code(default, None).map_err(|found| format!("{default:?} {found}"))?
        }
    };
    let amount_minor = digits.minor_units(currency).map_err(|found| problem(&found))?;
    Ok(Money { amount_minor, currency_code: currency.code().to_owned() })
}

/// Returns the currency of a code or symbol. A symbol that several currencies share stands for `expected`, if that is one of
/// them.
fn code(text: &str, expected: Option<&str>) -> Result<Currency, String> {
    let text = text.trim();
    if text.chars().count() == CODE_CHARS && text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Currency::from_code(&text.to_ascii_uppercase())
            .ok_or_else(|| "has an unknown currency; use a code of ISO 4217, such as GBP or EUR".to_owned());
    }
    let expected = expected.and_then(|code| Currency::from_code(&code.to_ascii_uppercase()));
    match text {
        "€" => Ok(Currency::EUR),
        // Other pounds are written with their code.
        "£" => Ok(Currency::GBP),
        _ => expected.filter(|currency| currency.symbol().symbol == text).ok_or_else(|| {
            format!("has {text:?} for its currency; use a code of ISO 4217, such as USD or EUR")
        }),
    }
}

/// Returns whether a text is a number in scientific notation, as spreadsheets show long ones: `1.23E+12`. Texts such as
/// `12E3`, which they don't write, are ordinary SKUs.
pub(crate) fn is_scientific(text: &str) -> bool {
    let Some((number, exponent)) = text.split_once(['e', 'E']) else { return false };
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.strip_prefix(['+', '-']).unwrap_or(number);
    let power = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let is_number = match number.split_once(['.', ',']) {
        Some((whole, decimals)) => are_digits(whole) && are_digits(decimals),
        None => are_digits(number) && power.len() < exponent.len(),
    };
    is_number && are_digits(power)
}

/// Says why a SKU in scientific notation is refused.
pub(super) fn scientific_sku(text: &str) -> String {
    format!(
        "{text:?} is in scientific notation: a spreadsheet has replaced the digits. Format the column as text and fill it again, or write \"'{text}\" if that is the SKU"
    )
}

/// The digits of a number.
struct Digits {
    is_negative: bool,
    whole: String,
    decimals: String,
}

impl Digits {
    fn minor_units(&self, currency: Currency) -> Result<i64, String> {
        let places = usize::from(currency.exponent().unwrap_or(0));
        // Programs that calculate with fractions write 5.000 for 5.
        let (kept, more) = self.decimals.split_at(places.min(self.decimals.len()));
        if more.bytes().any(|digit| digit != b'0') || self.decimals.len() == 3 && places < 3 {
            return Err(format!("has more than {places} decimals; {} has {places}", currency.code()));
        }
        format!("{}{kept:0<places$}", self.whole).parse().map_err(|_| "is too large".to_owned())
    }
}

impl Numbers {
    /// Reads a number: its sign, its digits and its decimal mark. Between thousands there may be a space, an apostrophe, `_`,
    /// or the mark that isn't the decimal one, unless that alone leaves the meaning open.
    fn digits(self, text: &str) -> Result<Digits, String> {
        let text = text.trim();
        let (mark, other) = match self.decimal {
            Decimal::Point => ('.', ','),
            Decimal::Comma => (',', '.'),
        };
        let is_negative = text.starts_with(['-', '\u{2212}']);
        let unsigned = text.strip_prefix(['-', '\u{2212}', '+']).unwrap_or(text);
        let is_digit = |c: char| c.is_ascii_digit();
        let is_of = |signs: &str| unsigned.chars().all(|c| is_digit(c) || signs.contains(c));
        if unsigned.starts_with(is_digit) && !is_of(".,") && is_of(".,eE+-") {
            return Err("is in scientific notation; write all of its digits".to_owned());
        }
        if !unsigned.starts_with(is_digit) || !unsigned.ends_with(is_digit) {
            return Err("is no number".to_owned());
        }
        let (whole, decimals) = unsigned.split_once(mark).unwrap_or((unsigned, ""));
        let is_open = whole.contains(other) && decimals.is_empty() && !self.is_given;
        if is_open || decimals.contains([mark, other]) {
            return Err(self.other_mark(text));
        }
        if !decimals.chars().all(is_digit) {
            return Err("is no number".to_owned());
        }
        let whole = ungrouped(whole).ok_or_else(|| {
            if whole.contains(other) { self.other_mark(text) } else { "is no number".to_owned() }
        })?;
        Ok(Digits { is_negative, whole, decimals: decimals.to_owned() })
    }

    /// Says why a number is refused that has the mark that isn't the decimal one, or several decimal marks.
    fn other_mark(self, text: &str) -> String {
        let [(mark, several, example), (other, sign, flag)] = match self.decimal {
            Decimal::Point => [('.', "several points", "1234.50"), (',', "a comma", "comma")],
            Decimal::Comma => [(',', "several commas", "1234,50"), ('.', "a point", "point")],
        };
        let found = if text.contains(other) || !text.contains(mark) { sign } else { several };
        if let Some(thousands) = ungrouped(text).filter(|_| text.matches(other).count() == 1) {
            // Read with the wrong decimal mark, it would be a thousandth of the intended number.
            let keep = if flag == "comma" { "point" } else { "comma" };
            let part = text.replace(other, &mark.to_string());
            return format!(
                "has {sign} and may mean {thousands} or {part}; write it without {sign}, or pass --decimal {keep} \
                 for {thousands} or --decimal {flag} for {part}"
            );
        }
        format!(
            "has {found}; write it like {example}, or pass --decimal {flag} if the decimal mark is a {flag}"
        )
    }
}

/// Returns the digits of groups of three, or `None` if they are no such groups.
fn ungrouped(text: &str) -> Option<String> {
    let Some(separator) = text.chars().find(|c| !c.is_ascii_digit()) else { return Some(text.to_owned()) };
    if !matches!(separator, ' ' | '\u{a0}' | '\u{2009}' | '\u{202f}' | '\'' | '\u{2019}' | '_' | ',' | '.') {
        return None;
    }
    let groups: Vec<_> = text.split(separator).collect();
    let are_digits = groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_digit()));
    let are_thousands =
        (1..=3).contains(&groups[0].len()) && groups[1..].iter().all(|group| group.len() == 3);
    (are_digits && are_thousands).then(|| groups.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Numbers = Numbers { decimal: Decimal::Point, is_given: false };
    const POINT: Numbers = Numbers { decimal: Decimal::Point, is_given: true };
    const COMMA: Numbers = Numbers { decimal: Decimal::Comma, is_given: true };

    #[test]
    fn units_are_whole_numbers() {
        for (text, numbers, expected) in [
            ("10", PLAIN, 10),
            ("10.0", PLAIN, 10),
            ("10.00", PLAIN, 10),
            ("+5", PLAIN, 5),
            ("1_000", PLAIN, 1_000),
            ("1\u{a0}000", PLAIN, 1_000),
            ("1 234 567", PLAIN, 1_234_567),
            ("1,000", POINT, 1_000),
            ("1.000", COMMA, 1_000),
            ("10,0", COMMA, 10),
        ] {
            assert_eq!(units(text, numbers), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_of_units_is_refused_with_the_reason() {
        for (text, numbers, reason) in [
            ("1,000", PLAIN, "comma"),
            ("1.000", PLAIN, "may be 1 or 1000"),
            ("10,0", PLAIN, "comma"),
            ("10.0", COMMA, "point"),
            ("1,00", POINT, "comma"),
            ("1E3", PLAIN, "scientific"),
            ("1.5e3", PLAIN, "scientific"),
            ("-1", PLAIN, "negative"),
            ("\u{2212}1", PLAIN, "negative"),
            ("10.5", PLAIN, "whole"),
            ("many", PLAIN, "no number"),
            ("", PLAIN, "no number"),
            ("1 00", PLAIN, "no number"),
            ("1.", PLAIN, "no number"),
            ("１２", PLAIN, "no number"),
            ("99999999999999999999", PLAIN, "large"),
        ] {
            let problem = units(text, numbers).unwrap_err();
            assert!(problem.contains(reason), "{text}: {problem}");
        }
    }

    fn amount(text: &str, numbers: Numbers) -> Result<(i64, String), String> {
        price(text, None, Some("GBP"), numbers).map(|money| (money.amount_minor, money.currency_code))
    }

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for (text, numbers, minor, code) in [
            ("12.5", PLAIN, 1_250, "GBP"),
            ("12.5 EUR", PLAIN, 1_250, "EUR"),
            ("EUR12.50", PLAIN, 1_250, "EUR"),
            ("€12", PLAIN, 1_200, "EUR"),
            ("12,50\u{a0}€", COMMA, 1_250, "EUR"),
            ("£1,234.50", PLAIN, 123_450, "GBP"),
            ("1.234,56", COMMA, 123_456, "GBP"),
            ("1\u{202f}234,56 eur", COMMA, 123_456, "EUR"),
            ("1'234.50 CHF", PLAIN, 123_450, "CHF"),
            ("1.500", COMMA, 150_000, "GBP"),
            ("1,500", POINT, 150_000, "GBP"),
            ("100.00 JPY", PLAIN, 100, "JPY"),
            ("1.234 KWD", PLAIN, 1_234, "KWD"),
            ("0.07", PLAIN, 7, "GBP"),
        ] {
            assert_eq!(amount(text, numbers), Ok((minor, code.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_with_the_reason() {
        for (text, numbers, reason) in [
            ("x", PLAIN, "no amount"),
            ("bad", PLAIN, "no amount"),
            ("", PLAIN, "no amount"),
            ("1.234,56", PLAIN, "comma"),
            ("12,50", PLAIN, "comma"),
            ("1,500", PLAIN, "comma"),
            ("12.50", COMMA, "point"),
            ("12.505", PLAIN, "2 decimals"),
            ("12.500", PLAIN, "2 decimals"),
            ("1.5 JPY", PLAIN, "0 decimals"),
            ("-1", PLAIN, "negative"),
            ("€-5", PLAIN, "negative"),
            ("1e3", PLAIN, "scientific"),
            ("1.50 XQZ", PLAIN, "unknown currency"),
            ("$5", PLAIN, "ISO 4217"),
            ("EUR 5 GBP", PLAIN, "both sides"),
            ("1 2", PLAIN, "no number"),
            ("12.", PLAIN, "ISO 4217"),
            ("99999999999999999999", PLAIN, "large"),
        ] {
            let problem = amount(text, numbers).unwrap_err();
            assert!(problem.contains(reason), "{text}: {problem}");
        }
    }

    #[test]
    fn the_currency_is_that_of_the_amount_the_column_or_the_flag() {
        let of = |text, column, default| price(text, column, default, PLAIN).map(|money| money.currency_code);
        assert_eq!(of("5", Some("eur"), Some("GBP")), Ok("EUR".to_owned()));
        assert_eq!(of("5 EUR", Some("EUR"), Some("GBP")), Ok("EUR".to_owned()));
        assert_eq!(of("$5", Some("USD"), None), Ok("USD".to_owned()));
        assert!(of("5 EUR", Some("GBP"), None).unwrap_err().contains("currency says GBP"));
        assert!(of("5", None, None).unwrap_err().contains("no currency"));
        assert!(of("5", Some("XQZ"), None).unwrap_err().contains("unknown currency"));
    }

    #[test]
    fn scientific_notation_is_what_spreadsheets_write() {
        for text in ["1.23E+12", "1,23E+12", "1E+12", "1.2e12", "-5E-10"] {
            assert!(is_scientific(text), "{text}");
        }
        for text in ["1E3", "12E", "E+12", "A1E+3", "1.E+3", "123", "", "1.5"] {
            assert!(!is_scientific(text), "{text}");
        }
    }
}
