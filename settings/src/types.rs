//! The words for values of a wrong type, in place of what serde says about types of Rust.

/// Returns what a value should have been, and what it is, if that is what a parser's message is about.
///
/// # Examples
/// ```
/// use souk_settings::expected_type;
///
/// let message = "invalid type: string \"five\", expected i64";
/// assert_eq!(expected_type(message).as_deref(), Some("give a whole number, such as 12, not string \"five\""));
/// ```
#[must_use]
pub fn expected_type(message: &str) -> Option<String> {
    let types = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    let (found, expected) = types?.split_once(", expected ")?;
    let expected = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative, such as 12",
        "i32" | "i64" => "a whole number, such as 12",
        "f64" => "a number, such as 4.5",
        "a boolean" => "true or false",
        "a string" | "path string" | "string" => "a text in quotes",
        "a sequence" => "a list in brackets",
        "socket address" => "an address in quotes, such as \"127.0.0.1:7443\"",
        other => other,
    };
    Some(format!("give {expected}, not {}", found.replace('`', "")))
}
