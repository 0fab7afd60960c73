//! Conditions: `stock<5, category=home`, as `--where` takes them.
//!
//! A condition is a field, a comparison and a value; all of them have to hold. They are checked here. Those that the
//! market has indexes for are also sent with the request (see [`super::shop`]).

use std::{cmp::Ordering, ops::Range, str::FromStr};

use souk_cli::{parse_money, parse_time};
use souk_proto::{Timestamp, v1};

/// A field that conditions can name.
pub(crate) struct Field<T: 'static> {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) of: for<'a> fn(&'a T) -> Actual<'a>,
}

/// How a field's values are written and compared.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Without regard to case; `~` is "contains".
    Text,
    /// A case-sensitive name; `~` is "contains", without regard to case.
    Key,
    /// A path. It equals those above it: an item in `home/light` is in `home`.
    Category,
    /// One of these words.
    Word(&'static [&'static str]),
    Number,
    /// In the field's own currency, unless the value names one.
    Money,
    /// A time, or a whole day in UTC.
    Time,
}

/// The value of a field.
pub(crate) enum Actual<'a> {
    Text(&'a str),
    Number(i64),
    Money(Option<&'a v1::Money>),
    Time(Option<&'a Timestamp>),
}

/// What conditions can be about.
pub(crate) trait Tested: Sized + 'static {
    const FIELDS: &'static [Field<Self>];
}

/// Conditions, all of which have to hold.
pub(crate) struct Conditions<T: 'static> {
    all: Vec<Condition<T>>,
}

struct Condition<T: 'static> {
    field: &'static Field<T>,
    comparison: Comparison,
    wanted: Wanted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Is,
    IsNot,
    Below,
    AtMost,
    Above,
    AtLeast,
    Contains,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    /// In lower case, unless it is a key.
    Text(String),
    Number(i64),
    /// Parsed when the currency is known.
    Money(String),
    /// A second, or the seconds of a day, since 1970.
    Time(Range<i64>),
}

/// The seconds of a day.
const DAY: i64 = 86_400;

/// Longer ones first.
const COMPARISONS: [(&str, Comparison); 7] = [
    ("!=", Comparison::IsNot),
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("=", Comparison::Is),
    ("<", Comparison::Below),
    (">", Comparison::Above),
    ("~", Comparison::Contains),
];

// Not derived, because that would require `T: Clone`.
impl<T: 'static> Clone for Conditions<T> {
    fn clone(&self) -> Self {
        Self { all: self.all.clone() }
    }
}

impl<T: 'static> Clone for Condition<T> {
    fn clone(&self) -> Self {
        Self { field: self.field, comparison: self.comparison, wanted: self.wanted.clone() }
    }
}

impl<T: Tested> Conditions<T> {
    /// Returns whether all conditions hold.
    pub(crate) fn hold(&self, of: &T) -> bool {
        self.all.iter().all(|condition| condition.holds(of))
    }

    /// Returns the word or number that a field has to equal, if there is such a condition.
    pub(crate) fn equal(&self, field: &str) -> Option<String> {
        let found = self
            .all
            .iter()
            .find(|condition| condition.field.name == field && condition.comparison == Comparison::Is)?;
        match &found.wanted {
            Wanted::Text(text) => Some(text.clone()),
            Wanted::Number(number) => Some(number.to_string()),
            Wanted::Money(_) | Wanted::Time(_) => None,
        }
    }
}

impl<T: Tested> FromStr for Conditions<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = split(text)?.iter().map(|part| Condition::read(part)).collect::<Result<Vec<_>, _>>()?;
        if all.is_empty() {
            return Err(format!("there is no condition; the fields are {}", names::<T>()));
        }
        Ok(Self { all })
    }
}

fn names<T: Tested>() -> String {
    T::FIELDS.iter().map(|field| field.name).collect::<Vec<_>>().join(", ")
}

/// Splits the text at commas outside of quotation marks.
fn split(text: &str) -> Result<Vec<String>, String> {
    let (mut parts, mut part, mut quoted) = (Vec::new(), String::new(), None);
    for c in text.chars() {
        match quoted {
            Some(mark) if c == mark => quoted = None,
            None if matches!(c, '"' | '\'') => quoted = Some(c),
            None if c == ',' => parts.push(std::mem::take(&mut part)),
            _ => part.push(c),
        }
    }
    if quoted.is_some() {
        return Err(format!("a quotation mark is missing in {text:?}"));
    }
    parts.push(part);
    let parts = parts.iter().map(|part| part.trim().to_owned());
    Ok(parts.filter(|part| !part.is_empty()).collect())
}

impl<T: Tested> Condition<T> {
    fn read(text: &str) -> Result<Self, String> {
        let place = text.find(['=', '!', '<', '>', '~']).ok_or_else(|| {
            format!(
                "{text:?} has no comparison; write one like {}=…, with = != < <= > >= or ~",
                T::FIELDS[0].name
            )
        })?;
        let (name, rest) = (text[..place].trim(), &text[place..]);
        let field = T::FIELDS.iter().find(|field| field.name == name.to_lowercase());
        let field = field.ok_or_else(|| format!("there is no field {name:?}; there are {}", names::<T>()))?;
        let found = COMPARISONS.iter().find(|(sign, _)| rest.starts_with(sign));
        let (sign, comparison) = found.ok_or_else(|| format!("{text:?} has no comparison; write = or !="))?;
        let value = rest[sign.len()..].trim();
        let is_known = match field.kind {
            Kind::Text | Kind::Key | Kind::Category => {
                matches!(comparison, Comparison::Is | Comparison::IsNot | Comparison::Contains)
            }
            Kind::Word(_) => matches!(comparison, Comparison::Is | Comparison::IsNot),
            Kind::Number | Kind::Money | Kind::Time => *comparison != Comparison::Contains,
        };
        if !is_known {
            return Err(format!("{name} can't be compared with {sign}"));
        }
        let wanted = wanted(field.kind, value).map_err(|hint| format!("{value:?} is no {name}; {hint}"))?;
        Ok(Self { field, comparison: *comparison, wanted })
    }

    fn holds(&self, of: &T) -> bool {
        match ((self.field.of)(of), &self.wanted) {
            (Actual::Text(path), Wanted::Text(wanted)) if matches!(self.field.kind, Kind::Category) => {
                self.comparison.of_texts(path, wanted, is_below(path, wanted))
            }
            (Actual::Text(key), Wanted::Text(wanted)) if matches!(self.field.kind, Kind::Key) => {
                match self.comparison {
                    Comparison::Contains => key.to_lowercase().contains(&wanted.to_lowercase()),
                    comparison => comparison.of_texts(key, wanted, key == wanted),
                }
            }
            (Actual::Text(text), Wanted::Text(wanted)) => {
                let text = text.to_lowercase();
                self.comparison.of_texts(&text, wanted, text == *wanted)
            }
            (Actual::Number(number), Wanted::Number(wanted)) => self.comparison.of(number.cmp(wanted)),
            (Actual::Money(Some(money)), Wanted::Money(wanted)) => {
                // Amounts in different currencies can't be compared, so that no comparison holds.
                let wanted = parse_money(wanted, Some(&money.currency_code)).ok();
                let wanted = wanted.filter(|wanted| wanted.currency_code == money.currency_code);
                wanted.is_some_and(|wanted| self.comparison.of(money.amount_minor.cmp(&wanted.amount_minor)))
            }
            (Actual::Time(Some(time)), Wanted::Time(wanted)) => {
                self.comparison.of(place(time.seconds, wanted))
            }
            _ => false,
        }
    }
}

/// Returns whether a category is `wanted` or below it.
pub(crate) fn is_below(path: &str, wanted: &str) -> bool {
    path.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn wanted(kind: Kind, value: &str) -> Result<Wanted, String> {
    match kind {
        Kind::Text => Ok(Wanted::Text(value.to_lowercase())),
        Kind::Category => Ok(Wanted::Text(normalized(value))),
        Kind::Key => Ok(Wanted::Text(value.to_owned())),
        Kind::Word(words) if words.contains(&value) => Ok(Wanted::Text(value.to_owned())),
        Kind::Word(words) => Err(format!("it is one of {}", words.join(", "))),
        Kind::Number => {
            value.parse().map(Wanted::Number).map_err(|_| "write a whole number, such as 5".to_owned())
        }
        Kind::Money if is_amount(value) => Ok(Wanted::Money(value.to_owned())),
        Kind::Money => Err("write it like 12.50, or like \"12.50 GBP\"".to_owned()),
        Kind::Time => {
            let begin = parse_time(value)?.unix_timestamp();
            let seconds = if value.contains(':') { 1 } else { DAY };
            Ok(Wanted::Time(begin..begin + seconds))
        }
    }
}

/// Returns the path of a category as the market writes it.
pub(crate) fn normalized(category: &str) -> String {
    category.trim_matches('/').to_lowercase()
}

/// Returns where a time lies: before, in or after a range.
fn place(seconds: i64, range: &Range<i64>) -> Ordering {
    if range.contains(&seconds) { Ordering::Equal } else { seconds.cmp(&range.start) }
}

/// Returns whether a text is an amount of money, with a currency or without.
pub(crate) fn is_amount(text: &str) -> bool {
    // BHD has three decimals, so that an amount in any currency is accepted.
    parse_money(text, Some("BHD")).is_ok()
}

impl Comparison {
    fn of(self, ordering: Ordering) -> bool {
        match self {
            Self::Is => ordering.is_eq(),
            Self::IsNot => ordering.is_ne(),
            Self::Below => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
            Self::Above => ordering.is_gt(),
            Self::AtLeast => ordering.is_ge(),
            Self::Contains => false,
        }
    }

    fn of_texts(self, text: &str, wanted: &str, is_equal: bool) -> bool {
        match self {
            Self::Is => is_equal,
            Self::IsNot => !is_equal,
            Self::Contains => text.contains(wanted),
            Self::Below | Self::AtMost | Self::Above | Self::AtLeast => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Tested for Timestamp {
        const FIELDS: &'static [Field<Self>] =
            &[Field { name: "placed", kind: Kind::Time, of: |of| Actual::Time(Some(of)) }];
    }

    /// A day is all of its seconds, and not its first one.
    #[test]
    fn a_day_is_compared_as_a_whole() {
        let day = parse_time("2026-11-30").unwrap().unix_timestamp();
        let [before, first, last, after] = [day - 1, day, day + DAY - 1, day + DAY];
        for (sign, expected) in [
            ("=", [false, true, true, false]),
            ("!=", [true, false, false, true]),
            ("<", [true, false, false, false]),
            ("<=", [true, true, true, false]),
            (">", [false, false, false, true]),
            (">=", [false, true, true, true]),
        ] {
            let conditions: Conditions<Timestamp> = format!("placed{sign}2026-11-30").parse().unwrap();
            let held =
                [before, first, last, after].map(|seconds| conditions.hold(&Timestamp { seconds, nanos: 0 }));
            assert_eq!(held, expected, "{sign}");
        }
        let second: Conditions<Timestamp> = "placed=2026-11-30T00:00:00Z".parse().unwrap();
        assert!(second.hold(&Timestamp { seconds: first, nanos: 7 }));
        assert!(!second.hold(&Timestamp { seconds: first + 1, nanos: 0 }));
    }

    impl Tested for (String, i64, v1::Money) {
        const FIELDS: &'static [Field<Self>] = &[
            Field { name: "name", kind: Kind::Text, of: |of| Actual::Text(&of.0) },
            Field { name: "category", kind: Kind::Category, of: |of| Actual::Text(&of.0) },
            Field { name: "sku", kind: Kind::Key, of: |of| Actual::Text(&of.0) },
            Field { name: "stock", kind: Kind::Number, of: |of| Actual::Number(of.1) },
            Field { name: "price", kind: Kind::Money, of: |of| Actual::Money(Some(&of.2)) },
        ];
    }

    type Thing = (String, i64, v1::Money);

    fn holds(conditions: &str, of: (&str, i64, &str)) -> bool {
        let thing: Thing = (of.0.to_owned(), of.1, parse_money(of.2, None).unwrap());
        conditions.parse::<Conditions<Thing>>().unwrap().hold(&thing)
    }

    #[test]
    fn all_conditions_have_to_hold() {
        let lamp = ("Brass lamp, old", 4, "12.50 GBP");
        for met in [
            "stock<5",
            "stock <= 4, price>=12.50",
            "price = 12.5 GBP",
            "name~BRASS",
            "name=\"brass lamp, old\"",
            "name!='lamp', stock>3",
            "stock!=5,",
        ] {
            assert!(holds(met, lamp), "{met}");
        }
        for unmet in
            ["stock<4", "stock<5, name=lamp", "price<12.50", "price<99 EUR", "price<1.234", "name~oil"]
        {
            assert!(!holds(unmet, lamp), "{unmet}");
        }
    }

    #[test]
    fn a_key_is_compared_as_it_is() {
        for (conditions, is_met) in
            [("sku=T-1", true), ("sku=t-1", false), ("sku!=t-1", true), ("sku~t-", true), ("sku~x", false)]
        {
            assert_eq!(holds(conditions, ("T-1", 1, "1 GBP")), is_met, "{conditions}");
        }
    }

    #[test]
    fn a_category_holds_those_below_it() {
        for (wanted, is_met) in [("Home/", true), ("home/light", true), ("home/l", false), ("hom", false)] {
            let conditions = format!("category={wanted}");
            assert_eq!(holds(&conditions, ("home/light", 1, "1 GBP")), is_met, "{wanted}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused_with_a_reason() {
        for (wrong, word) in [
            ("", "stock"),
            ("stock", "comparison"),
            ("stok<5", "stock"),
            ("stock<many", "whole number"),
            ("stock~5", "~"),
            ("name<a", "<"),
            ("price<1,50", "comparison"),
            ("price<cheap", "12.50"),
            ("name='lamp", "quotation"),
            ("stock!5", "="),
        ] {
            let refused = wrong.parse::<Conditions<Thing>>().err().unwrap();
            assert!(refused.contains(word), "{wrong}: {refused}");
        }
    }
}
