//! The market's messages about invalid fields, with everyday words in place of the contract's field names.

use std::collections::BTreeSet;

use souk_client::{Error, Refusal, error::Violation};
use souk_proto::{
    Reason,
    contract::{Kind, definitions},
};

/// Fields with a name of their own in messages. All others are their names with blanks.
const WORDS: [(&str, &str); 13] = [
    ("unit_price", "price"),
    ("display_name", "name"),
    ("quantity_delta", "change of the stock"),
    ("dead_letter_ids", "numbers of dead letters"),
    ("from_time", "beginning of the time"),
    ("until_time", "end of the time"),
    ("min_price", "lowest price"),
    ("max_price", "highest price"),
    ("min_rating", "lowest rating"),
    ("order_by", "order of the list"),
    ("party_id", "UUID"),
    ("update_mask", "list of what to change"),
    ("query", "text to search for"),
];

/// Messages that a field belongs to without saying more, such as the item of `item.name`.
const ENCLOSING: [&str; 1] = ["item"];

/// Returns the text of an error. The names of fields are replaced by the words of [`WORDS`].
pub(crate) fn plainly(error: &Error) -> String {
    match error {
        Error::Refused(refusal) if refusal.reason() == Some(Reason::InvalidField) => refused(refusal),
        Error::Refused(_) => sentence(&error.to_string()),
        Error::MissingField { field } => {
            format!("the market's answer is incomplete: it lacks the {}", words(field))
        }
        _ => error.to_string(),
    }
}

fn refused(refusal: &Refusal) -> String {
    let described =
        |found: &Violation| format!("the {} {}", words(&found.field), sentence(&found.description));
    let joined: Vec<_> =
        refusal.violations().iter().map(|found| format!("{} {}", found.field, found.description)).collect();
    if refusal.message() == joined.join("; ") {
        return refusal.violations().iter().map(described).collect::<Vec<_>>().join("; ");
    }
    let mut text = refusal.to_string();
    for found in refusal.violations() {
        for written in [
            format!("{} {}", found.field, found.description),
            format!("{}: {}", found.field, found.description),
        ] {
            text = text.replace(&written, &described(found));
        }
    }
    text
}

/// Returns the words for a field's path: `price` for `item.unit_price`, `item id of line 2` for `lines[1].item_id`.
fn words(path: &str) -> String {
    let mut parts: Vec<_> = path.split('.').collect();
    let Some(last) = parts.pop() else { return String::new() };
    let mut text = word(last);
    for part in parts.iter().rev().filter(|part| !ENCLOSING.contains(*part)) {
        text = match index(part) {
            Some((of, number)) => format!("{text} of {} {}", of.trim_end_matches('s'), number + 1),
            None => format!("{} {text}", word(part)),
        };
    }
    text
}

fn word(field: &str) -> String {
    if let Some((name, number)) = index(field) {
        return format!("{} {}", name.trim_end_matches('s'), number + 1);
    }
    let known = WORDS.iter().find(|(name, _)| *name == field);
    known.map_or_else(|| field.replace('_', " "), |(_, word)| (*word).to_owned())
}

/// Splits `lines[1]` into its name and number.
fn index(part: &str) -> Option<(&str, usize)> {
    let (name, rest) = part.split_once('[')?;
    Some((name, rest.strip_suffix(']')?.parse().ok()?))
}

/// Replaces the names of fields in a sentence. Other words with `_` are somebody's text.
fn sentence(text: &str) -> String {
    if !text.contains('_') {
        return text.to_owned();
    }
    let fields = field_names();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut written = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let length = rest[start..].find(|c: char| !is_part(c)).unwrap_or(rest.len() - start);
        let found = &rest[start..start + length];
        written.push_str(&rest[..start]);
        if found.contains('_') && fields.contains(found) {
            written.push_str(&word(found));
        } else {
            written.push_str(found);
        }
        rest = &rest[start + length..];
    }
    written + rest
}

/// Returns the names of the contract's fields.
fn field_names() -> BTreeSet<String> {
    let fields = definitions().into_iter().filter(|definition| definition.kind == Kind::Field);
    fields.filter_map(|field| field.name.rsplit('.').next().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use souk_client::MarketAddresses;
    use souk_proto::reason::DOMAIN;
    use tonic::Status;
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    fn shown(violations: &[(&str, &str)]) -> String {
        let mut details = ErrorDetails::with_error_info(Reason::InvalidField.as_str(), DOMAIN, []);
        let mut texts = Vec::new();
        for (field, description) in violations {
            details.add_bad_request_violation(*field, *description);
            texts.push(format!("{field} {description}"));
        }
        let status = Status::with_error_details(Reason::InvalidField.code(), texts.join("; "), details);
        let market: MarketAddresses = "localhost:1".parse().unwrap();
        plainly(&Error::from_status(status, &market, std::time::Duration::ZERO))
    }

    #[test]
    fn fields_of_the_contract_have_the_words_of_people() {
        let text = shown(&[
            ("item.unit_price", "is missing; give an amount and a currency"),
            ("display_name", "is empty; give it some text"),
            ("lines[1].item_id", "is 0; give a number from 1 up"),
            ("stops[0].destination", "is missing"),
            ("callback.port", "is 0"),
        ]);
        let expected = [
            "the price is missing; give an amount and a currency",
            "the name is empty; give it some text",
            "the item id of line 2 is 0; give a number from 1 up",
            "the destination of stop 1 is missing",
            "the callback port is 0",
        ];
        assert_eq!(text, expected.join("; "));
    }

    #[test]
    fn other_refusals_name_no_fields_either() {
        let market: MarketAddresses = "localhost:1".parse().unwrap();
        let details = ErrorDetails::with_error_info(Reason::RequestIdReused.as_str(), DOMAIN, []);
        let message = "this request_id was used before";
        let status = Status::with_error_details(Reason::RequestIdReused.code(), message, details);
        let error = Error::from_status(status, &market, std::time::Duration::ZERO);
        assert_eq!(plainly(&error), "this request id was used before");
        let missing = Error::MissingField { field: "register_time" };
        assert_eq!(plainly(&missing), "the market's answer is incomplete: it lacks the register time");
    }

    #[test]
    fn descriptions_are_reworded_but_not_what_somebody_wrote() {
        let text = shown(&[(
            "quantity_delta",
            "can't be given together with quantity; set a field or quantity_delta",
        )]);
        assert_eq!(
            text,
            "the change of the stock can't be given together with quantity; set a field or change of the stock"
        );
        assert_eq!(shown(&[("item.category", "is my_shelf")]), "the category is my_shelf");
    }
}
