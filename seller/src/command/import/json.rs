//! An object of an NDJSON file, whose members are a row's fields.

use std::{collections::HashSet, fmt};

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::fields::normal;

/// A value of a member.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Text(String),
    /// A number in the notation of JSON.
    Number(String),
    /// An array, an object or a truth value.
    Other,
}

/// The members of an object, by their keys in the form in which headings are compared.
#[derive(Debug)]
pub(super) struct Object(Vec<(String, Value)>);

impl Object {
    /// Parses a line. The error says what is wrong with it.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        serde_json::from_str(line).map_err(|error| {
            let problem = error.to_string();
            // Every object is on one line, so that only the column helps.
            let problem = problem.split_once(" at line ").map_or(problem.as_str(), |(problem, _)| problem);
            format!("is no item: {problem} in column {}", error.column())
        })
    }

    /// Returns the value of a key; `None` if the object has no such key.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        let key = normal(key);
        self.0.iter().find(|(other, _)| *other == key).map(|(_, value)| value)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.as_str())
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut members = Vec::new();
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let key = normal(&key).into_owned();
            // JSON leaves open which of the two counts.
            if !seen.insert(key.clone()) {
                return Err(de::Error::custom(format_args!("the key {key:?} comes twice")));
            }
            members.push((key, map.next_value()?));
        }
        Ok(Object(members))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar)
    }
}

struct Scalar;

impl<'de> Visitor<'de> for Scalar {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a number")
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.to_string()))
    }

    /// An amount of up to 15 digits, as many as a price may have, comes back from the nearest fraction exactly. A whole
    /// number keeps its point (`10.0`).
    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(format!("{number:?}")))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_texts_or_numbers() {
        let line =
            r#"{"SKU":1230000000000,"Item ID":null,"price":19.99,"a":[1,{}],"b":{"c":1},"d":true,"q":10.0}"#;
        let object = Object::parse(line).unwrap();
        for (key, value) in [
            ("sku", Value::Number("1230000000000".into())),
            ("item_id", Value::Null),
            ("Price", Value::Number("19.99".into())),
            ("a", Value::Other),
            ("b", Value::Other),
            ("d", Value::Other),
            ("q", Value::Number("10.0".into())),
        ] {
            assert_eq!(object.get(key), Some(&value), "{key}");
        }
        assert_eq!(object.get("name"), None);
    }

    #[test]
    fn a_key_comes_once() {
        for line in [r#"{"price":"1","price":"2"}"#, r#"{"price":"1"," Price ":"2"}"#, r#"{"x":1,"x":1}"#] {
            assert!(Object::parse(line).unwrap_err().contains("comes twice"), "{line}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for line in ["[]", "{", "", "{} {}", "\"name\"", r#"{"name":"a" "sku":1}"#] {
            assert!(Object::parse(line).unwrap_err().contains("no item"), "{line}");
        }
    }

    #[test]
    fn amounts_come_back_exactly() {
        for text in ["0.07", "12.5", "19.99", "9999999999999.99", "1000000000000"] {
            let object = Object::parse(&format!("{{\"price\":{text}}}")).unwrap();
            assert_eq!(object.get("price"), Some(&Value::Number(text.into())));
        }
    }
}
