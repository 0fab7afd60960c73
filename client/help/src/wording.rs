//! The words for values that could not be parsed. What the libraries say, such as "invalid digit found in string", names
//! neither what is expected nor an example.

use std::{
    error::Error,
    net::AddrParseError,
    num::{IntErrorKind, ParseFloatError, ParseIntError},
};

use clap::error::{ContextKind, ContextValue};

/// Words that only the errors of UUIDs have.
const OF_UUIDS: [&str; 3] = ["`urn:uuid:`", "for simple format", "invalid group"];

/// Returns the error of a command line with what was expected in place of what a library says about a value.
#[must_use]
pub fn worded(error: clap::Error) -> clap::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let place = text(ContextKind::InvalidArg).zip(text(ContextKind::InvalidValue));
    let Some(((argument, value), expected)) = place.zip(error.source().and_then(expected)) else {
        return error;
    };
    let message = format!(
        "invalid value '{value}' for '{argument}': {expected}\n\nFor more information, try '--help'.\n"
    );
    clap::Error::raw(error.kind(), message)
}

/// Returns what a value should have been; `None` if the error says so itself.
#[must_use]
pub fn expected(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<ParseIntError>() {
        let expected = match error.kind() {
            IntErrorKind::PosOverflow => "the number is too large",
            IntErrorKind::NegOverflow => "the number is too small",
            IntErrorKind::Zero => "write a whole number from 1 up",
            _ => "write a whole number, such as 12",
        };
        return Some(expected.to_owned());
    }
    if error.is::<ParseFloatError>() {
        return Some("write a number, such as 4.5".to_owned());
    }
    let text = error.to_string();
    if text.starts_with("invalid socket address") {
        return Some("write an IP address and a port, such as 127.0.0.1:7443".to_owned());
    }
    if error.is::<AddrParseError>() {
        return Some("write an IP address, such as 192.0.2.1".to_owned());
    }
    if text.starts_with("invalid IP address") {
        return Some("write a network, such as 10.0.0.0/8".to_owned());
    }
    if OF_UUIDS.iter().any(|words| text.contains(words)) {
        return Some("write a UUID, such as 0199b8d2-5f0c-7d33-a3c1-2f1d8a0e4b77".to_owned());
    }
    // What clap says about a number that it has parsed.
    let (first, last) = text.split_once(" is not in ")?.1.split_once("..")?;
    let last = last.trim_start_matches('=');
    Some(match (first, last) {
        ("", last) => format!("write a number up to {last}"),
        (first, "") => format!("write a number from {first} up"),
        (first, last) => format!("write a number from {first} to {last}"),
    })
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use clap::{Arg, Command, builder::ValueParser, value_parser};

    use super::*;

    fn said(parser: impl Into<ValueParser>, value: &str) -> String {
        let number = Arg::new("number").value_name("N").allow_hyphen_values(true).value_parser(parser);
        let program = Command::new("program").arg(number);
        let error = program.try_get_matches_from(["program", value]).expect_err("it is refused");
        worded(error).to_string()
    }

    #[test]
    fn what_is_no_number_is_refused_with_what_is_expected() {
        for (said, expected) in [
            (said(value_parser!(i64), "one"), "write a whole number, such as 12"),
            (said(value_parser!(i64), ""), "write a whole number, such as 12"),
            (said(value_parser!(i64), "1.5"), "write a whole number, such as 12"),
            (said(value_parser!(i64), "9223372036854775808"), "the number is too large"),
            (said(value_parser!(usize), "-1"), "write a whole number, such as 12"),
            (said(value_parser!(i32).range(1..=200), "0"), "write a number from 1 to 200"),
            (said(value_parser!(i32).range(1..=200), "many"), "write a whole number, such as 12"),
            (said(value_parser!(u64).range(5..), "4"), "write a number from 5"),
            (said(value_parser!(u8), "300"), "write a number from 0 to 255"),
            (said(value_parser!(f64), "half"), "write a number, such as 4.5"),
            (said(value_parser!(SocketAddr), "localhost"), "such as 127.0.0.1:7443"),
            (said(value_parser!(IpAddr), "localhost"), "such as 192.0.2.1"),
        ] {
            assert!(said.starts_with("error: invalid value '") && said.contains(expected), "{said}");
            assert!(said.contains("'[N]'") && said.contains("--help"), "{said}");
            for words in ["digit", "string", "type", "literal", "syntax", "..="] {
                assert!(!said.contains(words), "{said}");
            }
        }
    }

    #[test]
    fn other_errors_stay_as_they_are() {
        let program = || Command::new("program").arg(Arg::new("kind").value_parser(["lamp", "sofa"]));
        for words in [&["program", "chair"][..], &["program", "--shade"]] {
            let error = program().try_get_matches_from(words).expect_err("it is refused");
            let before = error.to_string();
            assert_eq!(worded(error).to_string(), before);
        }
    }
}
