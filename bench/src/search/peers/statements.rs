//! The statements of a peer, by name, and which of them a search needs.

use anyhow::Context as _;

use crate::search::asked::{Asked, PAGE};

/// The statements in a file under `bench/sql`.
pub(super) struct Statements(&'static str);

impl Statements {
    pub(super) const fn of(text: &'static str) -> Self {
        Self(text)
    }

    /// Returns the statement with this name.
    pub(super) fn named(&self, name: &str) -> anyhow::Result<&'static str> {
        let mut all = self.0.split("-- name: ").skip(1).filter_map(|part| part.split_once('\n'));
        let found = all.find(|(known, _)| *known == name);
        let (_, text) = found.with_context(|| format!("there is no statement “{name}”"))?;
        Ok(text.trim())
    }
}

/// A parameter of a statement.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Parameter {
    Text(String),
    Number(i64),
}

/// A statement and its parameters.
pub(super) type Call = (String, Vec<Parameter>);

/// Returns the queries for a search: the page, the count and the categories. `has_similar` is whether the peer can search
/// for misspelt words; `None` if that is needed and missing.
pub(super) fn calls(
    asked: &Asked,
    words: impl Fn(&Asked) -> String,
    items: u64,
    has_similar: bool,
) -> Option<Vec<Call>> {
    use Parameter::{Number, Text};
    let before_page = i64::from(asked.page - 1) * i64::from(PAGE);
    let of = |kind: &str, parameters: Vec<Parameter>, page: Vec<Parameter>| {
        let all = [parameters.clone(), page].concat();
        vec![
            (kind.to_owned(), all),
            (format!("{kind}: count"), parameters.clone()),
            (format!("{kind}: categories"), parameters),
        ]
    };
    Some(match (&asked.category, asked.text.is_empty()) {
        (None, false) if asked.is_misspelt => {
            if !has_similar {
                return None;
            }
            of("similar", vec![Text(asked.text.clone())], Vec::new())
        }
        (None, false) => of("words", vec![Text(words(asked))], vec![Number(before_page)]),
        (Some(top), false) => {
            // The categories below: '0' follows '/'.
            let range = [Text(format!("{top}/")), Text(format!("{top}0"))];
            of("words in category", [vec![Text(words(asked))], range.to_vec()].concat(), Vec::new())
        }
        (Some(category), true) => {
            let parameters = vec![Text(category.clone())];
            // All matches are of this category.
            vec![
                ("category by price".to_owned(), parameters.clone()),
                ("category by price: count".to_owned(), parameters),
            ]
        }
        (None, true) => {
            let before = i64::try_from(items).unwrap_or(i64::MAX) - before_page;
            let page = if asked.is_by_price {
                ("by price".to_owned(), Vec::new())
            } else {
                ("blank".to_owned(), vec![Number(before)])
            };
            vec![page, ("blank: count".to_owned(), Vec::new()), ("blank: categories".to_owned(), Vec::new())]
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{made_up::Catalogue, search::asked::Class};

    #[test]
    fn each_search_has_its_statements_at_both_peers() {
        let catalogue = Catalogue::new();
        let files = [include_str!("../../../sql/fts5.sql"), include_str!("../../../sql/postgres.sql")];
        for (statements, has_similar) in files.map(Statements::of).iter().zip([false, true]) {
            for asked in Class::ALL.iter().flat_map(|class| class.searches(&catalogue, 1_000)) {
                let calls = calls(&asked, |asked| asked.text.clone(), 1_000, has_similar);
                assert_eq!(calls.is_none(), asked.is_misspelt && !has_similar);
                for (name, parameters) in calls.into_iter().flatten() {
                    let statement = statements.named(&name).unwrap();
                    let marks = (1..9).filter(|number| {
                        statement.contains(&format!("?{number}")) || statement.contains(&format!("${number}"))
                    });
                    assert_eq!(marks.count(), parameters.len(), "{name}");
                }
            }
        }
    }
}
